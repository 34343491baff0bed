package gate

import "testing"

// TestKnownHosts: requests may be addressed to the names that there are, and to one
// that a wildcard of a certificate stands for.
func TestKnownHosts(t *testing.T) {
	names := []string{"localhost", "*.wfd.example"}
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST:7117": true, "a.wfd.example": true, "A.WFD.example:443": true,
		"wfd.example": false, "a.b.wfd.example": false, "evil.example": false, "": false, "*.": false,
	} {
		if Addressed(names, host) != want {
			t.Errorf("%q is known: %t", host, !want)
		}
	}
}
