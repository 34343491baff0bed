// Package gate has what every server of this program asks of a request first.
package gate

import (
	"net"
	"slices"
	"strings"
)

// Addressed reports whether a request's host is one of names, which are in lower case;
// one that a certificate has, as *.example.org, stands for one label. It keeps pages out
// that have their own name point to this address.
func Addressed(names []string, host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	_, parent, _ := strings.Cut(host, ".")
	return slices.Contains(names, host) || slices.Contains(names, "*."+parent)
}
