package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"code.dny.dev/ssrf"
)

// errBlocked is why a connection was refused by a guard.
var errBlocked = errors.New("address not allowed")

// guard decides which addresses may be connected to. It is asked with the
// address itself, after names are resolved and for every redirect, so neither
// spelling nor a name server that changes its mind gets around it.
type guard struct {
	allowed *ssrf.Guardian
}

// never are the addresses at which clouds hand out credentials to whoever asks.
// They are refused also where private addresses are allowed.
var never = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),         // link-local: nearly every cloud
	netip.MustParsePrefix("fe80::/10"),              // link-local
	netip.MustParsePrefix("168.63.129.16/32"),       // Azure, a public address
	netip.MustParsePrefix("100.100.100.200/32"),     // Alibaba
	netip.MustParsePrefix("fd00:ec2::/32"),          // AWS
	netip.MustParsePrefix("fd20:ce::254/128"),       // Google
	netip.MustParsePrefix("fd00:c1::a9fe:a9fe/128"), // Oracle
}

// public allows what is reachable over the internet, private also the private
// and loopback ranges.
var (
	public  = &guard{ssrf.New(ssrf.WithAnyPort())}
	private = &guard{ssrf.New(ssrf.WithAnyPort(),
		ssrf.WithAllowedV4Prefixes(
			netip.MustParsePrefix("10.0.0.0/8"),
			netip.MustParsePrefix("100.64.0.0/10"),
			netip.MustParsePrefix("127.0.0.0/8"),
			netip.MustParsePrefix("172.16.0.0/12"),
			netip.MustParsePrefix("192.168.0.0/16"),
		),
		ssrf.WithAllowedV6Prefixes(
			netip.MustParsePrefix("::1/128"),
			netip.MustParsePrefix("fc00::/7"),
		))}
)

// control is a net.Dialer's Control.
func (g *guard) control(network, address string, conn syscall.RawConn) error {
	if ap, err := netip.ParseAddrPort(address); err == nil {
		for _, p := range never {
			if p.Contains(ap.Addr().Unmap().WithZone("")) {
				return fmt.Errorf("%w: %s", errBlocked, ap.Addr())
			}
		}
	}
	if err := g.allowed.Safe(network, address, conn); err != nil {
		return fmt.Errorf("%w: %w", errBlocked, err)
	}
	return nil
}
