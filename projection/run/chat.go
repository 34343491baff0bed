package run

import (
	"fmt"

	"github.com/wfd-dev/wfd/projection/event"
)

// Chat is how far a chat has come.
type Chat struct {
	Turns  []*event.ChatTurn
	Agents Map[string]      // by participant: who spoke for it, last
	Ended  *event.ChatEnded // nil: it goes on
}

// Proposal is the number of the proposal made last; 0: none was made.
func (c *Chat) Proposal() int {
	for i := len(c.Turns) - 1; i >= 0; i-- {
		if t := c.Turns[i]; len(t.Proposes) > 0 {
			return t.Proposal
		}
	}
	return 0
}

// Vote returns the last vote of a participant on a proposal, "" if there is none: a
// later vote takes the place of an earlier one.
func (c *Chat) Vote(voter string, proposal int) string {
	for i := len(c.Turns) - 1; i >= 0; i-- {
		if t := c.Turns[i]; t.Speaker == voter && t.Vote != "" && t.Proposal == proposal {
			return t.Vote
		}
	}
	return ""
}

// Had returns how many turns a participant had, and in how many of them it spoke.
func (c *Chat) Had(speaker string) (turns, spoke int) {
	for _, t := range c.Turns {
		if t.Speaker == speaker {
			turns++
			if t.Missed == nil {
				spoke++
			}
		}
	}
	return turns, spoke
}

// chatTurn takes a turn into the chat; the next one begins with attempts of its own.
func (s *State) chatTurn(p *event.ChatTurn) error {
	v, err := s.visit(p.Node, p.Visit)
	if err != nil {
		return err
	}
	if v.Attempt != p.Attempt || v.Status != NodeRunning && v.Held == nil {
		return fmt.Errorf("%w: attempt %d of %s is not under way", ErrHistory, p.Attempt, p.Node)
	}
	s.use(p.Usage)
	s.ended(p.Node, p.Visit, p.Attempt, p.Usage)
	s.moving()
	c := v.chat()
	c.Turns = append(c.Turns, p)
	if a := v.Agent; a != nil && a.Attempt == p.Attempt && p.Missed == nil {
		if c.Agents == nil {
			c.Agents = Map[string]{}
		}
		c.Agents[p.Speaker] = a.Agent
	}
	v.Status, v.Tried, v.Losses, v.RetryAt, v.Failure, v.Held = NodeScheduled, 0, 0, 0, nil, nil
	s.node(p.Node).Failure = nil
	s.setStatus(v)
	return nil
}

func (s *State) chatEnded(p *event.ChatEnded) error {
	v, err := s.visit(p.Node, p.Visit)
	if err != nil {
		return err
	}
	v.chat().Ended = p
	if v.Status != NodeFailed {
		v.Status = NodeWaiting // for what follows in the same breath
		s.setStatus(v)
	}
	return nil
}

func (v *Visit) chat() *Chat {
	if v.Chat == nil {
		v.Chat = &Chat{}
	}
	return v.Chat
}

// reopen lets a chat that has ended go on, if there is more to say.
func (c *Chat) reopen() {
	if c != nil {
		c.Ended = nil
	}
}
