package machine

import (
	"testing"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Votes are read out of texts by whole words, with negation: "disagree" holds "agree",
// and is none.
func TestVotesInTexts(t *testing.T) {
	for text, want := range map[string]string{
		"I agree.":                                        event.VoteApprove,
		"I disagree.":                                     event.VoteReject,
		"I do not agree with Ben.":                        event.VoteReject,
		"I don’t think I can support this":                event.VoteApprove, // the negation is too far away
		"I can't support this":                            event.VoteReject,
		"No, I approve!":                                  event.VoteApprove,
		"I approve; never would I reject it":              event.VoteApprove,
		"I do not disagree.":                              "",
		"I have no objections and approve":                event.VoteApprove,
		"The agreement was disagreeable.":                 "",
		"Yes, but I reject the second half.":              "",
		"Unapproved, unsupported, objectively rejectable": "",
		"Long thoughts.\n**Vote: reject** now":            event.VoteReject,
		"Vote: yes\nAlthough I disagree with the wording": event.VoteApprove,
		"vote: maybe\nI agree":                            event.VoteAbstain,
		"I vote to wait.":                                 "",
		"":                                                "",
	} {
		if got := voteIn(text); got != want {
			t.Errorf("%q is read as %q, want %q", text, got, want)
		}
	}
}

func TestSaidBy(t *testing.T) {
	for _, c := range []struct {
		answer any
		want   said
	}{
		{"I agree.", said{message: "I agree.", vote: event.VoteApprove, read: true}},
		{map[string]any{"text": "I agree.", "vote": "reject"}, said{message: "I agree.", vote: event.VoteReject}},
		{map[string]any{"message": "I agree.", "vote": "For"}, said{message: "I agree.", vote: event.VoteApprove}},
		{map[string]any{"message": "I agree.", "vote": "it depends"}, said{message: "I agree.", vote: event.VoteAbstain}},
		{map[string]any{"message": "Hm", "approve": false}, said{message: "Hm", vote: event.VoteReject}},
		{map[string]any{"message": "Hm", "vote": nil}, said{message: "Hm"}},
		{map[string]any{"vote": true}, said{message: "approve", vote: event.VoteApprove}},
		{map[string]any{"proposal": " Wait. "}, said{message: "Wait.", proposes: "Wait."}},
	} {
		got, err := saidBy(event.MustValue(c.answer), true)
		if err != nil || got != c.want {
			t.Errorf("%v is %+v, %v, want %+v", c.answer, got, err, c.want)
		}
	}
	for _, answer := range []any{nil, "", "  ", int64(7), []any{"x"}, map[string]any{}, map[string]any{"message": int64(1)}} {
		if got, err := saidBy(event.MustValue(answer), true); err == nil {
			t.Errorf("%v is %+v", answer, got)
		}
	}
	if got, _ := saidBy(event.StringValue("I agree."), false); got.vote != "" {
		t.Errorf("where nobody votes, a vote was read: %+v", got)
	}
}

// The share is of all participants, compared in two decimals: 2 of 3 pass 0.67, and
// no other way of counting does.
func TestTally(t *testing.T) {
	for of := 1; of <= workflow.MaxParticipants; of++ {
		spec := &workflow.ChatSpec{Rounds: 1}
		c := &run.Chat{}
		for i := range of {
			name := string(rune('A' + i))
			spec.Participants = append(spec.Participants, workflow.Participant{Name: name})
			c.Turns = append(c.Turns, &event.ChatTurn{Speaker: name, Vote: event.VoteReject})
		}
		for approve := range of + 1 {
			got := tally(spec, c)
			want := int(float64(approve)/float64(of)*100 + 0.5)
			if got.Approve != approve || got.Of != of || got.Percent != want || len(got.Votes) != of || !got.heard || got.Rounds != 1 {
				t.Fatalf("%d of %d: %+v, want %d%%", approve, of, got, want)
			}
			if approve < of { // a later vote takes the place of the earlier one
				c.Turns = append(c.Turns, &event.ChatTurn{Speaker: spec.Participants[approve].Name, Vote: event.VoteApprove})
			}
		}
	}
	spec := &workflow.ChatSpec{Participants: []workflow.Participant{{Name: "a"}, {Name: "b"}, {Name: "c"}}}
	c := &run.Chat{Turns: []*event.ChatTurn{{Speaker: "a", Vote: event.VoteApprove}, {Speaker: "b", Vote: event.VoteApprove}}}
	if got := tally(spec, c); got.Percent != 67 || got.heard {
		t.Errorf("two of three have spoken: %+v", got)
	}
	c.Turns = append(c.Turns, &event.ChatTurn{Speaker: "c", Proposes: event.StringValue("x"), Proposal: 1, Vote: event.VoteApprove})
	if got := tally(spec, c); got.Percent != 33 || got.Proposal != 1 || !got.heard {
		t.Errorf("a proposal was made: %+v", got)
	}
}
