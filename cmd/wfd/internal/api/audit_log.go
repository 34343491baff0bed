package api

import (
	"context"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// Deed is an event that somebody caused, and how he came in.
type Deed struct {
	event.View
	How string `json:"how" doc:"directory: a command on the data directory, by a user of the machine; token: the API, with a token; certificate: the API, with a client certificate; provider: the API, with a token of an identity provider; loopback: the API of a daemon without a token; engine and runner: the daemon itself; imported: in another log, whatever the name says"`
}

type deedsInput struct {
	Cursor string    `query:"cursor" doc:"next_cursor of the page before: the seq after which the page begins"`
	Limit  int       `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"items per page"`
	Actor  string    `query:"actor" doc:"only what this actor did; cli: stands for all that begin with it"`
	Since  time.Time `query:"since" doc:"only what happened then or later"`
	Kind   []string  `query:"kind,explode" doc:"only these kinds, repeated or with commas between them; node. stands for all that begin with it"`
	Run    string    `query:"run" doc:"only of this run"`
	All    bool      `query:"all" doc:"also what follows from a command, and what the daemon does by itself"`
}

// commandKinds are the events that commands leave; what else stands in the log
// follows from them.
var commandKinds = map[eventlog.Kind]bool{
	event.KindDefinitionRegistered: true,
	event.KindRunCreated:           true,
	event.KindRunCancelled:         true,
	event.KindRunPaused:            true,
	event.KindRunResumed:           true,
	event.KindRunForked:            true,
	event.KindRunRestored:          true,
	event.KindRunImported:          true,
	event.KindNodeRetried:          true,
	event.KindSignalReceived:       true,
	event.KindInputReceived:        true,
	event.KindCheckpointCreated:    true,
	event.KindPayloadErased:        true,
	event.KindLogRestored:          true,
	event.KindKeyRotated:           true,
	event.KindDataKeysChanged:      true,
	event.KindTriggerSet:           true,
	event.KindTriggerPaused:        true,
	event.KindTriggerResumed:       true,
	event.KindTriggerDeleted:       true,
	event.KindTokenCreated:         true,
	event.KindTokenRevoked:         true,
	event.KindSecurityGranted:      true,
	event.KindSecurityDenied:       true,
}

// isFound reports whether an event is something that a guard found: it is told,
// whoever brought it.
func isFound(k eventlog.Kind) bool {
	return k == event.KindSecurityWarned || k == event.KindSecurityBlocked || k == event.KindSecurityRequested
}

// howOf says how an actor came in.
func howOf(actor string) string {
	switch {
	case strings.HasPrefix(actor, "cli:"):
		return "directory"
	case actor == "api:token", strings.HasPrefix(actor, "token:"):
		return "token"
	case actor == "api:local":
		return "loopback"
	case strings.HasPrefix(actor, "cert:"):
		return "certificate"
	case strings.HasPrefix(actor, "jwt:"):
		return "provider"
	case strings.HasPrefix(actor, "runner:"):
		return "runner"
	case event.IsImported(actor):
		return "imported"
	}
	return "engine"
}

// isMachine reports whether an event was caused by nobody, here: by the daemon
// itself, or in another log.
func isMachine(actor string) bool {
	how := howOf(actor)
	return how == "engine" || how == "runner" || how == "imported"
}

// isEdit reports whether somebody set state himself, as a run was resumed or forked.
func isEdit(e eventlog.Event) bool {
	if e.Kind != event.KindStateSet || e.Erased || isMachine(e.Actor) {
		return false
	}
	p, err := event.Decode(e.Kind, e.Payload)
	set, ok := p.(*event.StateSet)
	return err == nil && ok && set.Node == "" && !set.Merge
}

// deeds reads who did what from the events: there is no second record of it
// that could say something else.
func (a *API) deeds(ctx context.Context, in *deedsInput) (*answer[List[Deed]], error) {
	after, err := (&EventsInput{Cursor: in.Cursor}).after()
	if err != nil {
		return nil, err
	}
	kind, err := kindFilter(in.Kind)
	if err != nil {
		return nil, err
	}
	var f feed = &logFeed{o: a.o, after: after}
	seen := a.sight(ctx)
	if in.Run != "" {
		id, err := a.existing(ctx, in.Run)
		if err != nil {
			return nil, err
		}
		if f, err = newRunFeed(a.o, id, after, false); err != nil {
			return nil, err
		}
	}
	defer f.close()
	list := List[Deed]{Items: []Deed{}}
	views, err := eventPage(&sieve{f, func(e eventlog.Event) bool {
		switch {
		case !kind(e.Kind), e.When().Before(in.Since), seen != nil && !seen(e):
			return false
		case in.Actor != "" && e.Actor != in.Actor && !(strings.HasSuffix(in.Actor, ":") && strings.HasPrefix(e.Actor, in.Actor)):
			return false
		case in.All:
			return true
		}
		return isFound(e.Kind) || (len(in.Kind) > 0 || commandKinds[e.Kind] || isEdit(e)) && (in.Actor != "" || !isMachine(e.Actor))
	}}, func(k eventlog.Kind) bool { return k != unwanted }, in.Limit)
	if err != nil {
		return nil, err
	}
	for _, v := range views.Items {
		list.Items = append(list.Items, Deed{v, howOf(v.Actor)})
	}
	list.Next = views.Next
	return &answer[List[Deed]]{list}, nil
}

// unwanted is the kind that a sieve gives to what it holds back: pages stay
// bounded by what was looked at. No event has it.
const unwanted eventlog.Kind = 0

// sieve is a feed of which only some events count.
type sieve struct {
	feed
	wanted func(eventlog.Event) bool
}

func (s *sieve) next(limit int) ([]eventlog.Event, error) {
	events, err := s.feed.next(limit)
	for i := range events {
		if !s.wanted(events[i]) {
			events[i].Kind = unwanted
		}
	}
	return events, err
}
