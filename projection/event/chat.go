package event

import "github.com/wfd-dev/wfd/eventlog"

// ChatTurn: a participant of a chat had its turn, which was one attempt of the node's
// visit. Each turn is an event, so that no turn is taken a second time.
type ChatTurn struct {
	Node    string `json:"node"`
	Visit   int    `json:"visit"`
	Attempt int    `json:"attempt"`
	Turn    int    `json:"turn"`  // of the visit, from 1
	Round   int    `json:"round"` // from 1
	Speaker string `json:"speaker"`
	Message Value  `json:"message,omitempty"`
	// Vote is one of the Vote constants, "" if there was none; Read says that it was
	// read out of the message, where nothing else said so.
	Vote string `json:"vote,omitempty"`
	Read bool   `json:"vote_read,omitempty"`
	// Proposal is what the vote is on: 0 is what the chat is about, others were made
	// in it. Proposes is the text of one that is made here.
	Proposal int      `json:"proposal,omitempty"`
	Proposes Value    `json:"proposes,omitempty"`
	Missed   *Failure `json:"missed,omitempty"` // no message: why the turn passed without one
	Usage    *Usage   `json:"usage,omitempty"`
}

// Votes.
const (
	VoteApprove = "approve"
	VoteReject  = "reject"
	VoteAbstain = "abstain"
)

// ChatEnded: nobody in a chat speaks any more.
type ChatEnded struct {
	Node     string     `json:"node"`
	Visit    int        `json:"visit"`
	Outcome  string     `json:"outcome"`          // one of the Chat constants
	Reason   string     `json:"reason,omitempty"` // ChatCancelled: why it was given up
	Rounds   int        `json:"rounds"`           // in which everybody had a turn
	Turns    int        `json:"turns"`
	Proposal int        `json:"proposal,omitempty"` // the last one
	Approve  int        `json:"approve"`            // participants that approve of it
	Of       int        `json:"of"`                 // of so many
	Percent  int        `json:"percent"`            // rounded
	Votes    []ChatVote `json:"votes,omitempty"`    // on it, in the order of the participants
}

// ChatVote is the vote of one participant.
type ChatVote struct {
	Voter string `json:"voter"`
	Vote  string `json:"vote"`
}

// What ended a chat.
const (
	ChatConsensus = "consensus"
	ChatMaxRounds = "max_rounds"
	ChatTimeout   = "timeout"
	ChatFailed    = "failed" // a turn failed for good
	ChatCancelled = "cancelled"
)

// ForChat is the purpose of the timer that ends a chat.
const ForChat = "chat"

// The order of the fields below is on disk: append, never reorder.

// Kind returns KindChatTurn.
func (*ChatTurn) Kind() eventlog.Kind { return KindChatTurn }

func (p *ChatTurn) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.int(&p.Attempt)
	c.int(&p.Turn)
	c.int(&p.Round)
	c.str(&p.Speaker)
	c.value(&p.Message)
	c.str(&p.Vote)
	c.bool(&p.Read)
	c.int(&p.Proposal)
	c.value(&p.Proposes)
	c.failureOpt(&p.Missed)
	c.usage(&p.Usage)
}

// Kind returns KindChatEnded.
func (*ChatEnded) Kind() eventlog.Kind { return KindChatEnded }

func (p *ChatEnded) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.str(&p.Outcome)
	c.str(&p.Reason)
	c.int(&p.Rounds)
	c.int(&p.Turns)
	c.int(&p.Proposal)
	c.int(&p.Approve)
	c.int(&p.Of)
	c.int(&p.Percent)
	array(c, &p.Votes, func(c *coder, v *ChatVote) {
		nested(c, v, func(c *coder, v *ChatVote) {
			c.str(&v.Voter)
			c.str(&v.Vote)
		})
	})
}
