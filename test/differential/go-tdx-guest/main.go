// Answers for each line of JSON on standard input whether go-tdx-guest accepts that quote with that collateral: a peer to
// differ from. With -bench it verifies the first line again and again, for as many seconds, and prints how often a second.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"flag"
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

func judge(r *request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("PANIC %v", p)
		}
	}()
	root, err := x509.ParseCertificate(r.Root)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return verify.RawTdxQuote(r.Quote, &verify.Options{
		CheckRevocations: true,
		GetCollateral:    true,
		Getter:           r,
		Now:              time.Unix(r.At, 0),
		TrustedRoots:     pool,
	})
}

func main() {
	seconds := flag.Float64("bench", 0, "seconds")
	flag.Parse()
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<22)
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
