package host

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// authority signs certificates into a directory.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.cert = a.sign("ca", &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, a.key)
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// sign writes a certificate and its key as NAME.crt and NAME.key.
func (a *authority) sign(name string, c *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	a.n++
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(a.n), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if key == nil {
		key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	parent := a.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".crt": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(a.file(file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return signed
}

func (a *authority) server(name string) {
	a.sign(name, &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{"wfd.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, nil)
}

func (a *authority) client(name string, organizations ...string) {
	a.sign(name, &x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: organizations}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, nil)
}

func (a *authority) certificates(name string) *Certificates {
	return &Certificates{Cert: a.file(name + ".crt"), Key: a.file(name + ".key"), CA: a.file("ca.crt")}
}

// TestListen: an address that others can reach is not listened on without TLS and
// without asking who they are.
func TestListen(t *testing.T) {
	a := newAuthority(t)
	a.server("server")
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.com:0", "nonsense", "10.0.0.1:7117"} {
		for _, d := range []Door{{Addr: addr}, {Addr: addr, Auth: true}, {Addr: addr, TLS: a.certificates("server")}} {
			if l, _, err := Listen(d); err == nil {
				l.Close()
				t.Errorf("%s is listened on with auth %t and TLS %t", addr, d.Auth, d.TLS != nil)
			}
		}
	}
	l, names, err := Listen(Door{Addr: "0.0.0.0:0", Auth: true, TLS: a.certificates("server"), Names: []string{"Proxy.Example"}})
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for _, name := range []string{"wfd.example", "proxy.example", "localhost"} {
		if !slices.Contains(names(), name) {
			t.Errorf("requests cannot be addressed to %s: %v", name, names())
		}
	}
	a.sign("server", &x509.Certificate{Subject: pkix.Name{CommonName: "server"}, DNSNames: []string{"Other.example"}}, nil)
	soon := time.Now().Add(time.Second)
	if err := os.Chtimes(a.file("server.crt"), soon, soon); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(names(), "wfd.example") || !slices.Contains(names(), "other.example") {
		t.Errorf("the renewed certificate has other names than %v", names())
	}
	for want, c := range map[string]*Certificates{
		"needs its key":              {Cert: a.file("server.crt")},
		"needs a certificate":        {CA: a.file("ca.crt")},
		"no such file":               {Cert: a.file("none.crt"), Key: a.file("none.key")},
		"private key does not match": {Cert: a.file("server.crt"), Key: a.file("ca.key")},
		"no certificate in PEM":      {Cert: a.file("server.crt"), Key: a.file("server.key"), CA: a.file("ca.key")},
	} {
		if _, _, err := Listen(Door{Addr: "127.0.0.1:0", TLS: c}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestTLS: over TLS a client certificate of the authority names who comes and what he
// may do; one that says nothing of it, or is another's, lets nobody in. A certificate
// that is renewed is shown to the next who comes.
func TestTLS(t *testing.T) {
	a := newAuthority(t)
	a.server("server")
	a.client("ann", "wfd:read", "Example Inc.")
	a.client("bob", "Example Inc.")
	stranger := newAuthority(t)
	stranger.client("eve", "wfd:admin")
	h, err := Open(Options{Dir: t.TempDir(), Logger: quiet(), Auth: true})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, _, err := Listen(Door{Addr: "127.0.0.1:0", Auth: true, TLS: a.certificates("server")})
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h.API}
	go s.Serve(l)
	defer s.Close()
	ask := func(c *Certificates, method, path string) (int, string, *x509.Certificate) {
		t.Helper()
		config, err := c.Load()
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+l.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err.Error(), nil
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b), resp.TLS.PeerCertificates[0]
	}
	_, _, first := ask(a.certificates("ann"), "GET", "/livez")
	if status, body, _ := ask(a.certificates("ann"), "GET", "/v1/runs"); status != http.StatusOK {
		t.Errorf("ann, who may read: %d %s", status, body)
	}
	if status, body, _ := ask(a.certificates("ann"), "GET", "/v1/tokens"); status != http.StatusForbidden || !strings.Contains(body, "cert:ann has read") {
		t.Errorf("ann, who may only read: %d %s", status, body)
	}
	if status, body, _ := ask(a.certificates("bob"), "GET", "/v1/runs"); status != http.StatusUnauthorized {
		t.Errorf("bob, whose certificate says nothing: %d %s", status, body)
	}
	if status, body, _ := ask(&Certificates{CA: a.file("ca.crt")}, "GET", "/v1/runs"); status != http.StatusUnauthorized {
		t.Errorf("nobody: %d %s", status, body)
	}
	eve := &Certificates{Cert: stranger.file("eve.crt"), Key: stranger.file("eve.key"), CA: a.file("ca.crt")}
	if status, body, _ := ask(eve, "GET", "/v1/runs"); status != 0 && status != http.StatusUnauthorized {
		t.Errorf("eve, whose certificate another signed: %d %s", status, body)
	}
	if status, body, _ := ask(&Certificates{CA: stranger.file("ca.crt")}, "GET", "/livez"); status != 0 {
		t.Errorf("a client that trusts another authority goes on: %d %s", status, body)
	}
	if resp, err := http.Get("http://" + l.Addr().String() + "/livez"); err == nil {
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Error("it answers without TLS")
		}
	}
	conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	if err == nil {
		conn.Close()
		t.Error("it speaks TLS 1.1")
	}
	a.server("server")
	soon := time.Now().Add(time.Second)
	for _, name := range []string{"server.crt", "server.key"} {
		if err := os.Chtimes(a.file(name), soon, soon); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, second := ask(a.certificates("ann"), "GET", "/livez"); second == nil || first == nil || second.Equal(first) {
		t.Error("the renewed certificate is not shown")
	}
}

// Profiles are served on loopback, by its name, and nowhere else.
func TestProfiles(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "10.0.0.1:0", "example.com:0"} {
		if _, _, err := ServeProfiles(addr); err == nil {
			t.Errorf("profiles are served at %s", addr)
		}
	}
	at, end, err := ServeProfiles("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	for host, want := range map[string]int{at: 200, "evil.example": 403} {
		r, err := http.NewRequest(http.MethodGet, "http://"+at+"/debug/pprof/cmdline", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", host, resp.StatusCode, want)
		}
	}
}
