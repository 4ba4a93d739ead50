// Answers each line of JSON on standard input: whether go-tdx-guest accepts that quote with that collateral, or with Bench
// how often it does so a second. A peer to differ from, and to be measured against.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/go-tdx-guest/verify"
)

type document struct {
	Body  []byte
	Chain []byte
}

type request struct {
	At         int64
	Quote      []byte
	Root       []byte
	TcbInfo    map[string]document
	QeIdentity document
	RootCrl    []byte
	PckCrl     []byte
	// PEM: the CA that the PCK's CRL is of, and the root.
	PckCrlChain []byte
	Bench       *struct {
		Seconds float64
		// Leave out the collateral: chain and quote alone.
		Bare bool
	}
}

// Get serves what the request brought, as Intel's service does.
func (r *request) Get(address string) (map[string][]string, []byte, error) {
	header := func(name string, chain []byte) map[string][]string {
		return map[string][]string{name: {url.QueryEscape(string(chain))}}
	}
	switch {
	case strings.Contains(address, "/tcb?fmspc="):
		_, fmspc, _ := strings.Cut(address, "fmspc=")
		if info, ok := r.TcbInfo[strings.ToLower(fmspc)]; ok {
			return header("Tcb-Info-Issuer-Chain", info.Chain), info.Body, nil
		}
	case strings.Contains(address, "/qe/identity"):
		return header("Sgx-Enclave-Identity-Issuer-Chain", r.QeIdentity.Chain), r.QeIdentity.Body, nil
	case strings.Contains(address, "/pckcrl"):
		return header("Sgx-Pck-Crl-Issuer-Chain", r.PckCrlChain), r.PckCrl, nil
	case strings.Contains(address, "IntelSGXRootCA"):
		return nil, r.RootCrl, nil
	}
	return nil, nil, fmt.Errorf("nothing at %s", address)
}

func (r *request) answer() (said string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("PANIC %v", p)
		}
	}()
	root, err := x509.ParseCertificate(r.Root)
	if err != nil {
		return "", err
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	options := &verify.Options{
		CheckRevocations: true,
		GetCollateral:    true,
		Getter:           r,
		Now:              time.Unix(r.At, 0),
		TrustedRoots:     pool,
	}
	if err := verify.RawTdxQuote(r.Quote, options); err != nil || r.Bench == nil {
		return "accepted", err
	}
	if r.Bench.Bare {
		options.CheckRevocations, options.GetCollateral = false, false
	}
	from, n := time.Now(), 0
	for time.Since(from).Seconds() < r.Bench.Seconds {
		if err := verify.RawTdxQuote(r.Quote, options); err != nil {
			return "", err
		}
		n++
	}
	return fmt.Sprintf("rate %f", float64(n)/time.Since(from).Seconds()), nil
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<22)
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
