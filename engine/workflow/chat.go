package workflow

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow/source"
)

// Limits of a chat.
const (
	MaxParticipants = 32
	MaxRounds       = 100

	DefaultRounds    = 10
	DefaultThreshold = 0.75
)

// ChatMode says in which order the participants of a chat speak, and what they are
// asked to do.
type ChatMode string

// Modes of a chat.
const (
	RoundRobin ChatMode = "round_robin" // in the order they are listed
	ByPriority ChatMode = "priority"    // in each round, those with the highest priority first
	Consensus  ChatMode = "consensus"   // present, discuss, conclude; each says whether they agree
	Debate     ChatMode = "debate"      // opening, rebuttal, closing
)

// ChatSpec is what a chat node has been told.
type ChatSpec struct {
	Participants []Participant // in the order they are listed
	Mode         ChatMode
	Rounds       int
	Threshold    int  // hundredths of the participants that have to approve
	Votes        bool // each turn is asked for a vote
	TurnTimeout  time.Duration
}

// Participant is one of those who speak in a chat.
type Participant struct {
	Name     string // what the others call it; unlike any other's
	Agent    string // an agent's name or, if nobody is called that, a role
	Role     string // instead of Agent
	Priority int
}

var participantFields = []field{
	{name: "agent", form: aWord, doc: "The agent's name."},
	{name: "role", form: aWord, doc: "The role; the engine picks an agent that has it, once for the whole chat."},
	{name: "name", form: aWord, doc: "What the others call it; the agent or role if left out."},
	{name: "priority", form: aCount, min: -1000, max: 1000, doc: "In mode priority the highest speaks first."},
}

// participants reads who takes part: names of agents or roles, or objects.
func (p *parser) participants(n *NodeDef, v *source.Tree, path string) {
	items := v.Items
	switch {
	case v.Kind == source.Scalar && !v.IsNull():
		items = []*source.Tree{v}
	case v.Kind != source.List:
		p.wrong(v, path, n.ID, "participants", "a list of agents or roles")
		return
	}
	list := make([]any, 0, len(items))
	for i, x := range items {
		at := source.Join(path, i)
		if x.Kind != source.Map {
			list = append(list, p.word(x, at, n.ID, "participants"))
			continue
		}
		m := map[string]any{}
		p.object(x, at, n.ID, "the participant", participantFields, func(name string, _, v *source.Tree) {
			sub := source.Join(at, name)
			if f := find(participantFields, name); f.form == aCount {
				m[name] = p.count(v, f, sub, n.ID)
			} else {
				m[name] = p.word(v, sub, n.ID, name)
			}
		})
		_, agent := m["agent"]
		_, role := m["role"]
		if agent == role {
			p.fail(CodeMissingField, x.Place, at, n.ID, "a participant has either an agent or a role", "write agent: NAME or role: ROLE")
		}
		if len(m) == 1 && agent { // as if it were written {participants: [name]}
			list = append(list, m["agent"])
			continue
		}
		list = append(list, m)
	}
	if len(list) == 0 {
		p.fail(CodeMissingField, p.src.PlaceOf(path, true), path, n.ID, "participants is empty", "name at least one agent or role")
	}
	n.Fields["participants"] = list
}

// chat fills in what a chat node needs to run.
func (c *compiler) chat(n *Node) {
	def := n.Def
	spec := &ChatSpec{Mode: ChatMode(def.Text("mode")), Rounds: def.Int("rounds"), TurnTimeout: DefaultTimeout}
	n.Chat = spec
	if spec.Mode == "" {
		spec.Mode = RoundRobin
	}
	if spec.Rounds == 0 {
		spec.Rounds = DefaultRounds
	}
	if d, err := ParseDuration(def.Text("turn_timeout")); err == nil && d > 0 {
		spec.TurnTimeout = d
	}
	threshold := DefaultThreshold
	switch x := def.Fields["threshold"].(type) {
	case float64:
		threshold = x
	case int64:
		threshold = float64(x)
	}
	_, asked := def.Fields["threshold"]
	spec.Votes = asked || spec.Mode == Consensus || spec.Mode == Debate
	spec.Threshold = int(math.Round(threshold * 100))
	path := source.Join(source.Join("nodes", def.ID), "participants")
	list, _ := def.Fields["participants"].([]any)
	if len(list) > MaxParticipants {
		c.fail(CodeLimit, path, n.ID, fmt.Sprintf("the chat %s has %d participants, the limit is %d", n.ID, len(list), MaxParticipants), "")
		list = list[:MaxParticipants]
	}
	for i, x := range list {
		var p Participant
		switch x := x.(type) {
		case string:
			p.Agent = x
		case map[string]any:
			p.Agent, _ = x["agent"].(string)
			p.Role, _ = x["role"].(string)
			p.Name, _ = x["name"].(string)
			priority, _ := x["priority"].(int64)
			p.Priority = int(priority)
		}
		if p.Name == "" {
			p.Name = p.Agent + p.Role
		}
		if slices.ContainsFunc(spec.Participants, func(o Participant) bool { return o.Name == p.Name }) {
			c.fail(CodeDuplicateID, source.Join(path, i), n.ID, fmt.Sprintf("two participants are called %q", source.Clip(p.Name)), fmt.Sprintf("give one a name of its own: {agent: %s, name: …}", source.Clip(p.Name)))
			continue
		}
		spec.Participants = append(spec.Participants, p)
	}
}
