package machine

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/wfd-dev/wfd/projection/event"
)

// said is what a participant of a chat has answered.
type said struct {
	message  string
	vote     string // one of event's Vote constants; "": none
	read     bool   // the vote was read out of the message
	proposes string
}

// saidBy reads the answer of a turn: text, or an object with message (or text), vote
// and proposal. A vote that nothing states is read out of the message if votes says so.
func saidBy(answer event.Value, votes bool) (said, error) {
	x, err := answer.Any()
	if err != nil {
		return said{}, err
	}
	var s said
	stated := false
	switch x := x.(type) {
	case string:
		s.message = x
	case map[string]any:
		s.message = firstText(x, "message", "text")
		if s.proposes = firstText(x, "proposal"); s.message == "" {
			s.message = s.proposes
		}
		for _, k := range []string{"vote", "approve"} {
			if v, ok := x[k]; ok && v != nil && !stated {
				s.vote, stated = stance(v), true
			}
		}
	}
	s.message, s.proposes = strings.TrimSpace(s.message), strings.TrimSpace(s.proposes)
	if s.message == "" && stated {
		s.message = s.vote // a vote alone says something
	}
	if s.message == "" {
		return s, fmt.Errorf("the answer has no message: it is text, or an object with message, vote and proposal")
	}
	if !stated && votes {
		s.vote = voteIn(s.message)
		s.read = s.vote != ""
	}
	return s, nil
}

// firstText returns the first of these fields that is text.
func firstText(m map[string]any, keys ...string) string {
	for _, k := range keys {
		if s, ok := m[k].(string); ok && strings.TrimSpace(s) != "" {
			return s
		}
	}
	return ""
}

// stance reads what somebody put where a vote belongs. What is neither for nor
// against is an abstention.
func stance(v any) string {
	switch v := v.(type) {
	case bool:
		if v {
			return event.VoteApprove
		}
		return event.VoteReject
	case string:
		w := strings.ToLower(strings.Trim(v, " \t\r\n.!\"'"))
		switch {
		case w == "no" || w == "against" || w == "nay":
			return event.VoteReject
		case w == "for":
			return event.VoteApprove
		}
		if vote := voteIn(w); vote != "" {
			return vote
		}
	}
	return event.VoteAbstain
}

// Words for and against. They count as whole words; after a negation a word for is
// one against, and one against is none.
var (
	wordsFor     = wordSet("agree agrees agreed approve approves approved accept accepts accepted support supports endorse endorses yes aye")
	wordsAgainst = wordSet("disagree disagrees disagreed reject rejects rejected oppose opposes opposed decline declines object objects refuse refuses disapprove disapproves")
	negations    = wordSet("not never cannot can't won't don't doesn't didn't wouldn't couldn't isn't hardly neither nor without unable")
)

func wordSet(list string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(list) {
		m[w] = true
	}
	return m
}

// negated is how many words a negation reaches ahead, within its sentence.
const negated = 3

// voteIn reads a vote out of a text: a line that says "vote: …", else the words for
// and against, as long as they do not contradict one another. "" if there is none.
func voteIn(text string) string {
	text = strings.ToLower(strings.ReplaceAll(text, "’", "'"))
	for line := range strings.Lines(text) {
		line = strings.Trim(line, "*_#> \t\r\n")
		if rest, ok := strings.CutPrefix(line, "vote"); ok {
			if rest = strings.TrimLeft(rest, "*_ "); strings.HasPrefix(rest, ":") {
				return stance(strings.Trim(rest, ":*_ "))
			}
		}
	}
	vote, left := "", 0
	for _, w := range wordsOf(text) {
		is := ""
		switch {
		case w == ".":
			left = 0
			continue
		case wordsFor[w] && left == 0:
			is = event.VoteApprove
		case wordsFor[w], wordsAgainst[w] && left == 0:
			is = event.VoteReject
		}
		if left--; left < 0 {
			left = 0
		}
		if negations[w] {
			left = negated
		}
		if is != "" && vote != "" && is != vote {
			return ""
		}
		vote = max(vote, is)
	}
	return vote
}

// wordsOf splits a text into words; the end of a sentence is the word ".".
func wordsOf(text string) []string {
	var list []string
	from := -1
	for i, r := range text + " " {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || r == '\'' && from >= 0 || r == '-' && from >= 0 {
			if from < 0 {
				from = i
			}
			continue
		}
		if from >= 0 {
			list = append(list, strings.TrimRight(text[from:i], "'-"))
			from = -1
		}
		if strings.ContainsRune(".!?;:\n", r) {
			list = append(list, ".")
		}
	}
	return list
}
