package event

import "github.com/wfd-dev/wfd/eventlog"

// Access is the system stream of who may come in.
var Access = eventlog.System("access")

// TokenCreated: whoever brings the token may do what its scopes say, until it
// expires or is revoked.
type TokenCreated struct {
	ID      string   `json:"id"`   // the part of the token that may be shown
	Name    string   `json:"name"` // of whoever has it: the actor of what is done with it
	Hash    string   `json:"hash"` // SHA-256 of the token, hex; the token is kept nowhere
	Scopes  []string `json:"scopes"`
	Expires Time     `json:"expires,omitempty"` // 0: never
	Reason  string   `json:"reason,omitempty"`
	// Namespace is all that the token is good for, by name; "": all there are.
	Namespace string `json:"namespace,omitempty"`
}

// TokenRevoked: the token is good for nothing any more.
type TokenRevoked struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Reason string `json:"reason,omitempty"`
}

// The order of the fields below is on disk: append, never reorder.

// Kind returns KindTokenCreated.
func (*TokenCreated) Kind() eventlog.Kind { return KindTokenCreated }

func (p *TokenCreated) code(c *coder) {
	c.str(&p.ID)
	c.str(&p.Name)
	c.str(&p.Hash)
	c.strs(&p.Scopes)
	c.time(&p.Expires)
	c.text(&p.Reason)
	c.later()
	c.str(&p.Namespace)
}

// Kind returns KindTokenRevoked.
func (*TokenRevoked) Kind() eventlog.Kind { return KindTokenRevoked }

func (p *TokenRevoked) code(c *coder) {
	c.str(&p.ID)
	c.str(&p.Name)
	c.text(&p.Reason)
}
