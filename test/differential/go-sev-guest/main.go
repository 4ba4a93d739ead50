// Answers each line of JSON on standard input: whether go-sev-guest accepts that report under that chain, or with Bench how
// often it does so a second. A peer to differ from, and to be measured against.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/kds"
	pb "github.com/google/go-sev-guest/proto/sevsnp"
	"github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/trust"
)

type request struct {
	Product string
	At      int64
	Report  []byte
	Vek     []byte
	Vlek    bool
	Ark     []byte
	Ask     []byte
	Asvk    []byte
	Bench   *struct {
		Seconds float64
		Warm    bool
	}
}

// The options of a verifier that has parsed its roots.
func (r *request) options() (*verify.Options, error) {
	ark, err := x509.ParseCertificate(r.Ark)
	if err != nil {
		return nil, err
	}
	ask, err := x509.ParseCertificate(r.Ask)
	if err != nil {
		return nil, err
	}
	asvk, err := x509.ParseCertificate(r.Asvk)
	if err != nil {
		return nil, err
	}
	product, err := kds.ParseProductLine(r.Product)
	if err != nil {
		return nil, err
	}
	roots := &trust.AMDRootCerts{
		ProductLine:  r.Product,
		ProductCerts: &trust.ProductCerts{Ark: ark, Ask: ask, Asvk: asvk},
	}
	return &verify.Options{
		DisableCertFetching: true,
		Now:                 time.Unix(r.At, 0),
		TrustedRoots:        map[string][]*trust.AMDRootCerts{r.Product: {roots}},
		Product:             product,
	}, nil
}

// Chain and report.
func (r *request) cold(options *verify.Options) error {
	report, err := abi.ReportToProto(r.Report)
	if err != nil {
		return err
	}
	chain := &pb.CertificateChain{ArkCert: r.Ark, AskCert: r.Ask}
	if r.Vlek {
		chain.VlekCert, chain.AskCert = r.Vek, nil
	} else {
		chain.VcekCert = r.Vek
	}
	return verify.SnpAttestation(
		&pb.Attestation{Report: report, CertificateChain: chain, Product: options.Product}, options)
}

// The report alone, under a certificate that was parsed and verified before.
func (r *request) warm(vek *x509.Certificate) error {
	return verify.SnpReportSignature(r.Report, vek)
}

func (r *request) answer() (said string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("PANIC %v", p)
		}
	}()
	options, err := r.options()
	if err != nil {
		return "", err
	}
	if err := r.cold(options); err != nil || r.Bench == nil {
		return "accepted", err
	}
	vek, err := x509.ParseCertificate(r.Vek)
	if err != nil {
		return "", err
	}
	from, n := time.Now(), 0
	for time.Since(from).Seconds() < r.Bench.Seconds {
		if r.Bench.Warm {
			err = r.warm(vek)
		} else {
			err = r.cold(options)
		}
		if err != nil {
			return "", err
		}
		n++
	}
	return fmt.Sprintf("rate %f", float64(n)/time.Since(from).Seconds()), nil
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var r request
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			panic(err)
		}
		if said, err := r.answer(); err != nil {
			fmt.Printf("refused %q\n", err.Error())
		} else {
			fmt.Println(said)
		}
	}
}
