package event

import (
	"encoding/json"

	"github.com/wfd-dev/wfd/eventlog"
)

// View is an event as people and programs outside see it.
type View struct {
	Seq     eventlog.Seq     `json:"seq"`
	Run     string           `json:"run"`
	Version eventlog.Version `json:"version"`
	Time    Time             `json:"time"`
	Kind    string           `json:"kind"`
	Actor   string           `json:"actor"`
	Data    any              `json:"data"`
	// Erased: the payload was erased, and Data is what is left of it.
	Erased bool `json:"erased,omitempty"`
}

// erased stands in a View for a payload of which nothing is left.
type erased struct {
	Erased bool `json:"erased"`
}

// ViewOf returns e as a View.
func ViewOf(e eventlog.Event) (View, error) {
	v := View{Seq: e.Seq, Run: e.Run.String(), Version: e.Version, Time: Time(e.Time), Kind: KindName(e.Kind), Actor: e.Actor}
	if v.Erased = e.Erased; e.Erased && len(e.Payload) == 0 {
		v.Data = erased{true}
		return v, nil
	}
	p, err := Decode(e.Kind, e.Payload)
	if err != nil {
		return v, err
	}
	v.Data = p
	return v, nil
}

func kvMap(kvs []KV) map[string]Value {
	m := make(map[string]Value, len(kvs))
	for _, kv := range kvs {
		m[kv.Key] = kv.Value
	}
	return m
}

// MarshalJSON shows the keys an answer set as an object.
func (p *NodeCompleted) MarshalJSON() ([]byte, error) {
	type plain NodeCompleted
	return json.Marshal(struct {
		*plain
		Set map[string]Value `json:"set,omitempty"`
	}{(*plain)(p), kvMap(p.Set)})
}

// MarshalJSON shows the declared defaults as an object.
func (p *RunCreated) MarshalJSON() ([]byte, error) {
	type plain RunCreated
	return json.Marshal(struct {
		*plain
		State map[string]Value `json:"state,omitempty"`
	}{(*plain)(p), kvMap(p.Defaults)})
}
