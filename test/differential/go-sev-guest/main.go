// Answers for each line of JSON on standard input whether go-sev-guest accepts that report: a peer to differ from.
// With -bench it verifies the first line again and again, for as many seconds, and prints how often a second.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"flag"
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
}

func judge(r *request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("PANIC %v", p)
		}
	}()
	report, err := abi.ReportToProto(r.Report)
	if err != nil {
		return err
	}
	ark, err := x509.ParseCertificate(r.Ark)
	if err != nil {
		return err
	}
	ask, err := x509.ParseCertificate(r.Ask)
	if err != nil {
		return err
	}
	asvk, err := x509.ParseCertificate(r.Asvk)
	if err != nil {
		return err
	}
	chain := &pb.CertificateChain{ArkCert: r.Ark, AskCert: r.Ask}
	if r.Vlek {
		chain.VlekCert, chain.AskCert = r.Vek, nil
	} else {
		chain.VcekCert = r.Vek
	}
	roots := &trust.AMDRootCerts{
		ProductLine:  r.Product,
		ProductCerts: &trust.ProductCerts{Ark: ark, Ask: ask, Asvk: asvk},
	}
	product, err := kds.ParseProductLine(r.Product)
	if err != nil {
		return err
	}
	return verify.SnpAttestation(
		&pb.Attestation{Report: report, CertificateChain: chain, Product: product},
		&verify.Options{
			DisableCertFetching: true,
			Now:                 time.Unix(r.At, 0),
			TrustedRoots:        map[string][]*trust.AMDRootCerts{r.Product: {roots}},
			Product:             product,
		})
}

func main() {
	seconds := flag.Float64("bench", 0, "seconds")
	flag.Parse()
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		var r request
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			panic(err)
		}
		err := judge(&r)
		if *seconds > 0 {
			if err != nil {
				panic(err)
			}
			from, n := time.Now(), 0
			for time.Since(from).Seconds() < *seconds {
				judge(&r)
				n++
			}
			fmt.Fprintf(out, "%.0f\n", float64(n)/time.Since(from).Seconds())
			return
		}
		if err != nil {
			fmt.Fprintf(out, "refused %q\n", err.Error())
		} else {
			fmt.Fprintln(out, "accepted")
		}
	}
}
