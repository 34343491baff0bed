package run

import (
	"maps"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// View is a run's state as people and programs outside see it. It shares
// nothing that changes with the State it was taken from.
type View struct {
	Run     eventlog.RunID         `json:"run"`
	Seq     eventlog.Seq           `json:"seq"`     // of the last event folded
	Version eventlog.Version       `json:"version"` // of the last event folded
	Status  Status                 `json:"status"`
	State   map[string]event.Value `json:"state"`
	Nodes   map[string]NodeView    `json:"nodes"`
	Input   event.Value            `json:"input"`
	Output  event.Value            `json:"output,omitempty"`
	Error   *event.Failure         `json:"error,omitempty"`
	Usage   event.Usage            `json:"usage"`
}

// NodeView is a node of a View.
type NodeView struct {
	Status  NodeStatus     `json:"status"`
	Visits  int            `json:"visits"` // completed
	Attempt int            `json:"attempt,omitempty"`
	Agent   string         `json:"agent,omitempty"` // of the latest attempt
	Result  event.Value    `json:"result,omitempty"`
	Error   *event.Failure `json:"error,omitempty"`
	Child   string         `json:"child,omitempty"` // run that is under way for it
}

// View returns s as a View.
func (s *State) View() View {
	v := View{
		Run: s.Run, Seq: s.Seq, Version: s.Version, Status: s.Status,
		State: maps.Clone(s.Vars), Nodes: make(map[string]NodeView, len(s.Nodes)),
		Input: s.Input, Output: s.Output, Error: s.Failure, Usage: s.Usage,
	}
	if v.State == nil {
		v.State = map[string]event.Value{}
	}
	for id, n := range s.Nodes {
		if n.Status == "" {
			continue // only ever visited after a position that was restored
		}
		nv := NodeView{Status: n.Status, Visits: n.Completed, Agent: n.Agent, Result: n.Result, Error: n.Failure}
		if l := s.Live[id]; l != nil {
			nv.Attempt = l.Attempt
			if l.Ordered {
				nv.Child = l.Child.String()
			}
		}
		v.Nodes[id] = nv
	}
	return v
}
