package host

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Door is how the daemon is reached.
type Door struct {
	Addr string // host:port
	// Names are host names by which requests may address it, besides that of Addr,
	// loopback's, and those of the certificate.
	Names []string
	// Auth says that nobody is let in who does not say who he is.
	Auth bool
	TLS  *Certificates // nil: no TLS

	Logger *slog.Logger // nil: nothing is told
}

// Certificates are the files of one side of TLS. Cert and Key are read again when they
// change, so that certificates can be renewed.
type Certificates struct {
	Cert, Key string
	// CA has those who sign the other side's: of a daemon, clients may show a
	// certificate, which must be of one of these.
	CA string

	mu   sync.Mutex
	seen [2]time.Time // of Cert and Key, as they were read
	pair *tls.Certificate
}

// Load reads the files, so that what is wrong with them is said at once.
func (c *Certificates) Load() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if (c.Cert == "") != (c.Key == "") {
		return nil, errors.New("a certificate needs its key, and a key its certificate")
	}
	if c.Cert != "" {
		if _, err := c.current(); err != nil {
			return nil, err
		}
		config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current() }
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.current() }
	}
	if c.CA != "" {
		b, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("%s: no certificate in PEM", c.CA)
		}
		config.RootCAs, config.ClientCAs, config.ClientAuth = pool, pool, tls.VerifyClientCertIfGiven
	}
	return config, nil
}

// current returns the certificate as it is on disk. One that cannot be read any more,
// because it is just being renewed, leaves the one before in use.
func (c *Certificates) current() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var now [2]time.Time
	for i, name := range []string{c.Cert, c.Key} {
		if fi, err := os.Stat(name); err == nil {
			now[i] = fi.ModTime()
		}
	}
	if c.pair != nil && now == c.seen {
		return c.pair, nil
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		if c.pair != nil {
			return c.pair, nil
		}
		return nil, err
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, err
		}
	}
	c.pair, c.seen = &pair, now
	return c.pair, nil
}

// Listen opens the daemon's socket, and returns the names that requests may be
// addressed to, which change with the certificate. An address that others can reach needs TLS, and that whoever comes says
// who he is: without, anybody on the network would have the engine, and with it this
// machine.
func Listen(d Door) (net.Listener, func() []string, error) {
	host, _, err := net.SplitHostPort(d.Addr)
	if err != nil {
		return nil, nil, fmt.Errorf("address %q: want host:port", d.Addr)
	}
	if !loopback(d.Addr) {
		switch {
		case d.TLS == nil:
			return nil, nil, fmt.Errorf("address %q can be reached by others: it needs TLS (--tls-cert, --tls-key)", d.Addr)
		case !d.Auth:
			return nil, nil, fmt.Errorf("address %q can be reached by others: it needs --auth, and tokens (wfd token create)", d.Addr)
		}
	}
	names := append([]string{"localhost", "127.0.0.1", "::1", host}, d.Names...)
	var config *tls.Config
	if d.TLS != nil {
		if d.TLS.Cert == "" {
			return nil, nil, errors.New("TLS needs a certificate and its key (--tls-cert, --tls-key)")
		}
		if config, err = d.TLS.Load(); err != nil {
			return nil, nil, fmt.Errorf("TLS: %w", err)
		}
	}
	lower(names)
	l, err := net.Listen("tcp", d.Addr)
	if err != nil {
		return nil, nil, err
	}
	l = newLimited(l, places(), config == nil, d.Logger)
	if config != nil {
		l = tls.NewListener(l, config)
	}
	return l, func() []string { return append(names[:len(names):len(names)], d.TLS.names()...) }, nil
}

// names returns those that the certificate has at this moment.
func (c *Certificates) names() []string {
	if c == nil {
		return nil
	}
	pair, err := c.current()
	if err != nil {
		return nil // it was read once, and is kept
	}
	names := slices.Clone(pair.Leaf.DNSNames)
	for _, ip := range pair.Leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return lower(names)
}

// lower writes names as they are compared with.
func lower(names []string) []string {
	for i := range names {
		names[i] = strings.ToLower(names[i])
	}
	return names
}
