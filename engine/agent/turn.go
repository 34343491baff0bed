package agent

import (
	"fmt"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
)

// Turn is one turn of a chat.
type Turn struct {
	Who    workflow.Participant // whose it is
	Spec   *workflow.ChatSpec   // shared, not to be changed
	Round  int                  // from 1
	Number int                  // of the chat, from 1
	Try    int                  // attempts at this turn, this one included
	Said   []*event.ChatTurn    // before, oldest first; shared, not to be changed
}

// maxHeard is how many bytes of what was said before a participant is told, the newest
// first.
const maxHeard = 256 << 10

// opening tells a participant where it is.
func (t *Turn) opening() string {
	names := make([]string, len(t.Spec.Participants))
	for i, p := range t.Spec.Participants {
		names[i] = p.Name
	}
	return fmt.Sprintf("You are %s, in a conversation of %s. It is about this:", t.Who.Name, strings.Join(names, ", "))
}

// task tells a participant what was said, and what it is to say.
func (t *Turn) task() string {
	parts := []string{t.heard(), fmt.Sprintf("It is your turn, in round %d of at most %d. %s", t.Round, t.Spec.Rounds, t.aim())}
	if t.Spec.Votes {
		on := "what the conversation is about"
		if p := t.proposal(); p != "" {
			on = "the proposal: " + p
		}
		parts = append(parts, "Vote on "+on+"\nYour vote is approve, reject or abstain. It can be another one in your next turn. To put something else to the vote, say so under proposal.")
	}
	return strings.Join(parts, "\n\n")
}

// heard is what was said so far, as far as there is room for it.
func (t *Turn) heard() string {
	var lines []string
	size := 0
	for i := len(t.Said) - 1; i >= 0; i-- {
		s := t.Said[i]
		if s.Missed != nil {
			continue
		}
		line := s.Speaker + ": " + saidText(s.Message)
		if s.Vote != "" && t.Spec.Votes {
			line += " [" + s.Vote + "]"
		}
		if size += len(line); size > maxHeard {
			lines = append(lines, "(what was said before is left out)")
			break
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		return "Nobody has said anything yet."
	}
	var b strings.Builder
	b.WriteString("So far was said:")
	for i := len(lines) - 1; i >= 0; i-- {
		b.WriteString("\n\n" + lines[i])
	}
	return b.String()
}

// aim is what the mode wants of a turn.
func (t *Turn) aim() string {
	last := t.Round == t.Spec.Rounds
	switch t.Spec.Mode {
	case workflow.Debate:
		switch {
		case last:
			return "This is the closing: sum up your case in the light of what the others said."
		case t.Round == 1:
			return "This is the opening: state your position and its reasons."
		}
		return "This is the rebuttal: answer the strongest points of the others."
	case workflow.Consensus:
		switch {
		case last:
			return "This is the last round: say what you conclude."
		case t.Round == 1:
			return "Present what you think, and why."
		}
		return "Look for what all can agree on."
	}
	return "Say what you have to add."
}

// proposal is what was put to the vote last, "" if nothing was.
func (t *Turn) proposal() string {
	for i := len(t.Said) - 1; i >= 0; i-- {
		if p := t.Said[i].Proposes; len(p) > 0 {
			return saidText(p)
		}
	}
	return ""
}

func saidText(v event.Value) string {
	x, err := v.Any()
	if err != nil {
		return ""
	}
	s, _ := x.(string)
	return s
}

// schema is what the answer is to look like.
func (t *Turn) schema() map[string]any {
	props := map[string]any{"message": map[string]any{"type": "string", "description": "what you say to the others"}}
	required := []any{"message"}
	if t.Spec.Votes {
		props["vote"] = map[string]any{"enum": []any{event.VoteApprove, event.VoteReject, event.VoteAbstain}}
		props["proposal"] = map[string]any{"type": "string", "description": "only to put something else to the vote"}
		required = append(required, "vote")
	}
	return map[string]any{"type": "object", "properties": props, "required": required}
}

// example makes simulated participants come to an agreement in the second round.
func (t *Turn) example() map[string]any {
	vote := event.VoteApprove
	if t.Round == 1 && t.Spec.Rounds > 1 && t.Who.Name != t.Spec.Participants[0].Name {
		vote = event.VoteReject
	}
	return map[string]any{"vote": vote, "proposal": ""}
}
