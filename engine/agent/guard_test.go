package agent

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/projection/event"
)

// The guard sees addresses, so this is what it has to know.
func TestGuard(t *testing.T) {
	for addr, c := range map[string]struct{ public, private bool }{
		"93.184.215.14": {true, true}, "1.1.1.1": {true, true}, "2606:4700:4700::1111": {true, true},

		"127.0.0.1": {false, true}, "127.8.9.10": {false, true}, "::1": {false, true},
		"10.0.0.1": {false, true}, "172.16.0.1": {false, true}, "172.31.255.255": {false, true}, "192.168.1.1": {false, true},
		"100.64.0.1": {false, true}, "fc00::1": {false, true}, "fd12:3456::1": {false, true},

		"169.254.169.254": {}, "169.254.170.2": {}, "168.63.129.16": {}, "100.100.100.200": {}, "fd00:ec2::254": {}, "fd20:ce::254": {},
		"fe80::1": {}, "::ffff:169.254.169.254": {}, "::ffff:127.0.0.1": {}, "::ffff:10.0.0.1": {},
		"0.0.0.0": {}, "::": {}, "192.0.0.192": {}, "192.0.2.1": {}, "198.18.0.1": {}, "198.51.100.1": {}, "203.0.113.1": {},
		"224.0.0.1": {}, "240.0.0.1": {}, "255.255.255.255": {}, "ff02::1": {},
		"64:ff9b::7f00:1": {}, "64:ff9b::a9fe:a9fe": {}, "2002:7f00:1::": {}, "2001::1": {}, "2001:db8::1": {}, "3fff::1": {},
	} {
		network := "tcp4"
		if strings.Contains(addr, ":") {
			network = "tcp6"
		}
		at := net.JoinHostPort(addr, "8080")
		if got := public.control(network, at, nil) == nil; got != c.public {
			t.Errorf("%s: %v", addr, got)
		}
		if got := private.control(network, at, nil) == nil; got != c.private {
			t.Errorf("%s with allow_private: %v", addr, got)
		}
	}
	if public.control("unix", "/run/x.sock", nil) == nil || private.control("tcp4", "no address", nil) == nil {
		t.Error("what is no address was let through")
	}
}

// However a private address is written, a node without allow_private does not
// get there, and is told what it needs.
func TestHTTPBlocked(t *testing.T) {
	reached := false
	url := server(t, func(w http.ResponseWriter, r *http.Request) { reached = true })
	_, port, _ := strings.Cut(strings.TrimPrefix(url, "http://"), ":")
	for _, host := range []string{"127.0.0.1", "localhost", "①②⑦.⓪.⓪.①", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "user:pass@127.0.0.1"} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		task := with(get("http://"+host+":"+port), "allow_private", nil)
		f := refused(t, new(HTTP).Run(ctx, task), event.ClassAuth, "allow_private: true")
		if f.Again == nil || *f.Again || strings.Contains(f.Message, "pass@") {
			t.Errorf("%s: again %v, %s", host, f.Again, f.Message)
		}
		cancel()
	}
	refused(t, (&HTTP{DenyPrivate: true}).Run(t.Context(), get(url)), event.ClassAuth, "may not reach private addresses here")
	t.Setenv("HTTP_PROXY", url) // is not used
	refused(t, new(HTTP).Run(t.Context(), with(get("http://10.255.255.1"), "allow_private", nil)), event.ClassAuth)
	if reached {
		t.Error("the server was reached")
	}
}
