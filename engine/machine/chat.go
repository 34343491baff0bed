package machine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// A chat is a visit of which each attempt is a turn: somebody is chosen for it, it
// fails, is lost and is tried again like any other. What was said is an event,
// chat.turn, and makes the next turn's attempt due, until the chat is over.

// Limits of what is said in a chat.
const (
	MaxMessage = 64 << 10 // bytes of one turn's message, and of a proposal
	MaxChat    = 4 << 20  // bytes of all messages of a chat
)

// NextTurn says whose turn it is in a chat, or will be once the attempt under way has
// ended, and in which round: the participant with the fewest turns, among equals the
// first in order. ok is false if there is no further turn.
func NextTurn(n *workflow.Node, v *run.Visit) (p workflow.Participant, round int, ok bool) {
	c := v.Chat
	if c == nil {
		c = &run.Chat{}
	}
	least := n.Chat.Rounds
	for _, o := range speakers(n.Chat) {
		if turns, _ := c.Had(o.Name); turns < least {
			p, least, ok = o, turns, true
		}
	}
	return p, least + 1, ok
}

// speakers returns the participants in the order in which they speak in each round.
func speakers(spec *workflow.ChatSpec) []workflow.Participant {
	if spec.Mode != workflow.ByPriority {
		return spec.Participants
	}
	list := slices.Clone(spec.Participants)
	slices.SortStableFunc(list, func(a, b workflow.Participant) int { return cmp.Compare(b.Priority, a.Priority) })
	return list
}

func (d *decider) carryChat(n *workflow.Node, v *run.Visit) {
	if v.Chat == nil || v.Chat.Ended == nil {
		outcome := chatOutcome(n, v)
		if outcome == "" {
			d.deadline(n, v, event.ForChat)
			d.attempt(v)
			return
		}
		d.endChat(n, v, outcome, "")
	}
	if d.err != nil {
		return
	}
	switch e := v.Chat.Ended; {
	case e.Outcome == event.ChatCancelled: // the history was cut before the visit was given up
		d.emit(&event.NodeSkipped{Node: v.Node, Visit: v.Visit, Reason: e.Reason})
	case e.Outcome == event.ChatTimeout && n.OnTimeout != nil:
		d.fail(v, event.Failure{Class: event.ClassTimeout, Message: fmt.Sprintf("the chat ended without a result after %d turns", e.Turns)}, failing{final: true})
	default:
		r, err := chatResult(n, v.Chat)
		if err != nil {
			d.err = err
			return
		}
		d.complete(v, outcome{result: r})
	}
}

// chatOutcome returns what ends a chat now, "" if nothing does.
func chatOutcome(n *workflow.Node, v *run.Visit) string {
	c := v.Chat
	if c != nil {
		if t := tally(n.Chat, c); t.heard && t.Approve > 0 && t.Percent >= n.Chat.Threshold {
			return event.ChatConsensus
		}
		last := c.Turns[max(0, len(c.Turns)-len(n.Chat.Participants)):]
		missed := !slices.ContainsFunc(last, func(t *event.ChatTurn) bool { return t.Missed == nil })
		if len(last) == len(n.Chat.Participants) && missed {
			return event.ChatTimeout // nobody is there
		}
	}
	if v.Fired == event.ForChat {
		return event.ChatTimeout
	}
	if _, _, ok := NextTurn(n, v); !ok {
		return event.ChatMaxRounds
	}
	return ""
}

// counted is how the participants of a chat stand to its last proposal.
type counted struct {
	event.ChatEnded
	heard bool // each has spoken
}

// tally counts the votes. Its share is of all participants, in whole hundredths, so
// that 2 of 3 are the 0.67 that people write for two thirds.
func tally(spec *workflow.ChatSpec, c *run.Chat) counted {
	t := counted{heard: true}
	t.Turns, t.Of, t.Proposal, t.Rounds = len(c.Turns), len(spec.Participants), c.Proposal(), spec.Rounds
	for _, p := range spec.Participants {
		turns, spoke := c.Had(p.Name)
		t.Rounds = min(t.Rounds, turns)
		t.heard = t.heard && spoke > 0
		vote := c.Vote(p.Name, t.Proposal)
		if vote == event.VoteApprove {
			t.Approve++
		}
		if vote != "" {
			t.Votes = append(t.Votes, event.ChatVote{Voter: p.Name, Vote: vote})
		}
	}
	t.Percent = (200*t.Approve + t.Of) / (2 * t.Of)
	return t
}

// endChat records how a chat has ended.
func (d *decider) endChat(n *workflow.Node, v *run.Visit, outcome, reason string) {
	c := v.Chat
	if c == nil {
		c = &run.Chat{}
	}
	t := tally(n.Chat, c)
	p := t.ChatEnded
	p.Node, p.Visit, p.Outcome, p.Reason = v.Node, v.Visit, outcome, reason
	d.emit(&p)
}

// takeTurn records what came of a turn's attempt. A participant that was not there in
// time, in as many attempts as it has, misses the turn; any other failure is the
// node's.
func (d *decider) takeTurn(n *workflow.Node, v *run.Visit, c Result) {
	who, round, ok := NextTurn(n, v)
	if !ok {
		d.err = fmt.Errorf("chat %s, visit %d: a turn is under way, and there is no further one", v.Node, v.Visit)
		return
	}
	p := &event.ChatTurn{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Turn: 1, Round: round, Speaker: who.Name, Usage: c.Usage}
	if v.Chat != nil {
		p.Turn, p.Proposal = len(v.Chat.Turns)+1, v.Chat.Proposal()
	}
	if f := c.Failure; f != nil {
		if f.Class != event.ClassTimeout || v.Tried < n.Retry.Max && retryable(n, f.Class, c.Again) {
			d.fail(v, *f, failing{usage: c.Usage, again: c.Again, after: c.After, checkpoint: c.Checkpoint})
			return
		}
		missed := *f
		missed.Node, missed.Visit, missed.Attempt = v.Node, v.Visit, v.Attempt
		p.Missed = &missed
		d.emit(p)
		return
	}
	s, err := saidBy(c.Value, n.Chat.Votes)
	if err == nil {
		err = fitsChat(v.Chat, s)
	}
	if err != nil {
		d.fail(v, event.Failure{Class: event.ClassInvalidOutput, Message: err.Error()}, failing{usage: c.Usage})
		return
	}
	p.Message, p.Vote, p.Read = event.StringValue(s.message), s.vote, s.read
	if s.proposes != "" {
		p.Proposes = event.StringValue(s.proposes)
		p.Proposal++
		if p.Vote == "" || p.Read {
			p.Vote, p.Read = event.VoteApprove, false // who proposes something is for it
		}
	}
	d.emit(p)
}

// fitsChat returns why there is no room for what was said.
func fitsChat(c *run.Chat, s said) error {
	if n := max(len(s.message), len(s.proposes)); n > MaxMessage {
		return fmt.Errorf("the message has %d bytes, the limit is %d", n, MaxMessage)
	}
	if c == nil {
		return nil
	}
	all := len(s.message)
	for _, t := range c.Turns {
		all += len(t.Message)
	}
	if all > MaxChat {
		return fmt.Errorf("the messages of the chat have %d bytes, the limit is %d", all, MaxChat)
	}
	return nil
}

// chatResult is the result of a chat node.
func chatResult(n *workflow.Node, c *run.Chat) (event.Value, error) {
	e := c.Ended
	votes := make(map[string]any, len(e.Votes))
	for _, v := range e.Votes {
		votes[v.Voter] = v.Vote
	}
	var all strings.Builder
	proposal := any(nil)
	messages := make([]any, 0, len(c.Turns))
	for _, t := range c.Turns {
		m := map[string]any{"turn": int64(t.Turn), "round": int64(t.Round), "speaker": t.Speaker}
		if t.Missed != nil {
			m["missed"] = t.Missed.Error()
		} else {
			m["text"] = text(t.Message)
			fmt.Fprintf(&all, "%s: %s\n\n", t.Speaker, text(t.Message))
		}
		if t.Vote != "" {
			m["vote"] = t.Vote
		}
		if len(t.Proposes) > 0 {
			proposal = text(t.Proposes)
			m["proposal"] = proposal
		}
		messages = append(messages, m)
	}
	return event.ValueOf(map[string]any{
		"text": strings.TrimSpace(all.String()), "messages": messages, "outcome": e.Outcome, "consensus": e.Outcome == event.ChatConsensus,
		"ratio": float64(e.Percent) / 100, "approve": int64(e.Approve), "of": int64(e.Of), "votes": votes, "proposal": proposal,
		"rounds": int64(e.Rounds), "turns": int64(e.Turns),
	})
}
