package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/agent/model"
	"github.com/wfd-dev/wfd/engine/agent/roster"
	"github.com/wfd-dev/wfd/engine/secret"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
)

// fake is a provider that answers as a function says.
type fake func(ctx context.Context, r *model.Request, show func(string)) (model.Answer, error)

func (f fake) Ask(ctx context.Context, r *model.Request, show func(string)) (model.Answer, error) {
	return f(ctx, r, show)
}

// says returns a provider that says a text, and keeps the requests.
func says(text string, seen *[]*model.Request) fake {
	return func(_ context.Context, r *model.Request, _ func(string)) (model.Answer, error) {
		*seen = append(*seen, r)
		return model.Answer{Text: text, Stop: model.End, Usage: &event.Usage{InputTokens: 10, OutputTokens: 2}}, nil
	}
}

func modelsOf(p model.Provider) *Models {
	return &Models{Providers: map[string]model.Provider{"fake": p}, Accounts: map[string]Account{}}
}

// taskOf returns a task of the node a of a definition.
func taskOf(t *testing.T, node string, more string) *Task {
	t.Helper()
	wf, problems := workflow.Load("t.yaml", []byte("name: t\n"+more+"\nnodes:\n  a: "+node+"\n"))
	if wf == nil {
		t.Fatal(problems)
	}
	n := wf.Node("a")
	text := ""
	if n.Prompt != nil {
		v, _ := n.Prompt.Literal()
		text, _ = v.(string)
	}
	return &Task{Node: "a", Visit: 1, Attempt: 1, Kind: n.Kind, Def: n, Prompt: text, Agent: &roster.Agent{ID: "sara", Provider: "fake", Model: "m", System: "You are Sara."}, Asks: wf.Asks(n)}
}

// The prompt is the node's, with what was delivered to it unless it takes that itself.
func TestPrompts(t *testing.T) {
	for i, c := range []struct {
		node  string
		input any
		want  string
	}{
		{"{agent: s, prompt: Write.}", nil, "Write."},
		{"{agent: s, prompt: Write.}", map[string]any{}, "Write."},
		{"{agent: s, prompt: Write.}", "on tides", "Write.\n\nInput: on tides"},
		{"{agent: s, prompt: Write.}", map[string]any{"text": "on tides"}, "Write.\n\nInput: on tides"},
		{"{agent: s, prompt: Write.}", map[string]any{"text": "x", "n": int64(1)}, "Write.\n\nInput: {\n  \"n\": 1,\n  \"text\": \"x\"\n}"},
		{"{agent: s, prompt: Write.}", map[string]any{"b": map[string]any{"text": "B"}, "a": map[string]any{"text": "A", "v": true}}, "Write.\n\nInput: \n\n## a\n\n{\n  \"text\": \"A\",\n  \"v\": true\n}\n\n## b\n\nB"},
		{"{agent: s}", "on tides", "on tides"},
		{"{agent: s}", nil, "Execute task"},
		{`{agent: s, prompt: "On ${input.x}"}`, "on tides", "On x"},
	} {
		var seen []*model.Request
		task := taskOf(t, c.node, "")
		if strings.Contains(c.node, "${") {
			task.Prompt = "On x"
		}
		if c.input != nil {
			task.Input = event.MustValue(c.input)
		}
		a := modelsOf(says("ok", &seen)).Run(t.Context(), task)
		if a.Failure != nil || len(seen) != 1 || len(seen[0].Messages) != 1 {
			t.Fatalf("%d: %+v", i, a)
		}
		if got := seen[0].Messages[0].Text; got != c.want {
			t.Errorf("%d: %q, want %q", i, got, c.want)
		}
	}
}

// What the node says counts before what the agent says, and that before the default.
func TestModelSettings(t *testing.T) {
	var seen []*model.Request
	m := modelsOf(says("ok", &seen))
	warm := 0.9
	for _, c := range []struct {
		node  string
		agent roster.Agent
		want  string
	}{
		{"{agent: s}", roster.Agent{}, "1024 <nil>"},
		{"{agent: s}", roster.Agent{MaxTokens: 7, Temperature: &warm}, "7 0.9"},
		{"{agent: s, max_tokens: 9, temperature: 0}", roster.Agent{MaxTokens: 7, Temperature: &warm}, "9 0"},
	} {
		task := taskOf(t, c.node, "")
		c.agent.Provider = "fake"
		task.Agent = &c.agent
		if a := m.Run(t.Context(), task); a.Failure != nil {
			t.Fatal(a.Failure)
		}
		r := seen[len(seen)-1]
		got := fmt.Sprint(r.MaxTokens, " ", r.Temperature)
		if r.Temperature != nil {
			got = fmt.Sprint(r.MaxTokens, " ", *r.Temperature)
		}
		if got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

// What a model says becomes a result; what it cannot say becomes a failure that tells
// why.
func TestModelAnswers(t *testing.T) {
	object := func(kv ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i].(string)] = kv[i+1]
		}
		return m
	}
	const expects = `{agent: s, expect: {type: object, required: [score], properties: {score: {type: number}}}}`
	const listed = `{agent: s, expect: {type: array, items: {type: integer}}}`
	const state = "state: {severity: {type: string}, done: {type: boolean}}"
	for name, c := range map[string]struct {
		node, more string
		attempt    int
		answer     model.Answer
		result     any
		set        map[string]any
		fails      string
	}{
		"text":              {"{agent: s}", "", 1, model.Answer{Text: "Tides."}, object("text", "Tides."), nil, ""},
		"text with object":  {"{agent: s}", "", 1, model.Answer{Text: "Yes.\n```json\n{\"ok\": true, \"run.x\": 1, \"run\": 2}\n```"}, object("text", "Yes.\n```json\n{\"ok\": true, \"run.x\": 1, \"run\": 2}\n```", "ok", true, "run.x", int64(1), "run", int64(2)), object("ok", true), ""},
		"cut text":          {"{agent: s}", "", 1, model.Answer{Text: "Ti", Stop: model.Length}, object("text", "Ti", "truncated", true), nil, ""},
		"escapes and tags":  {"{agent: s}", "", 1, model.Answer{Text: "\x1b[2J<script>x</script>"}, object("text", "\x1b[2J<script>x</script>"), nil, ""},
		"not UTF-8":         {"{agent: s}", "", 1, model.Answer{Text: "a\xffb"}, object("text", "a\uFFFDb"), nil, ""},
		"object":            {expects, "", 1, model.Answer{Text: ` {"score": 0.5, "run.budget": 9}`}, object("score", 0.5, "run.budget", int64(9)), object("score", 0.5), ""},
		"object in a fence": {expects, "", 1, model.Answer{Text: "Here:\n```json\n{\"score\": 1}\n```\n"}, object("score", int64(1)), object("score", int64(1)), ""},
		"object in a text":  {expects, "", 1, model.Answer{Text: "It is {\"score\": 1}, I think"}, object("score", int64(1)), object("score", int64(1)), ""},
		"no object":         {expects, "", 1, model.Answer{Text: "I would say 0.5"}, nil, nil, "invalid_output: the answer is not as asked for: it is no JSON"},
		"cut object":        {expects, "", 1, model.Answer{Text: `{"score": 0.`, Stop: model.Length}, nil, nil, "raise max_tokens"},
		"a list":            {listed, "", 1, model.Answer{Text: `{"value": [1, 2]}`}, []any{int64(1), int64(2)}, nil, ""},
		"refused":           {"{agent: s}", "", 1, model.Answer{Text: "I cannot help.", Stop: model.Refused}, nil, nil, "invalid_output: the model refuses: I cannot help."},
		"too long":          {"{agent: s}", "", 1, model.Answer{Text: strings.Repeat("x", MaxText+1)}, nil, nil, "invalid_output: the answer has 4194305 bytes"},
		"asked":             {"{agent: s, outputs: {severity: string, done: boolean}}", state, 1, model.Answer{Text: `{"text": "T", "severity": "high", "done": true}`}, object("text", "T", "severity", "high", "done", true), object("text", "T", "severity", "high", "done", true), ""},
		"asked in vain":     {"{agent: s, outputs: {severity: string, done: boolean}}", state, 1, model.Answer{Text: `{"text": "T", "severity": "high"}`}, nil, nil, "invalid_output: the answer is not as asked for: lacks \"done\""},
		"asked to the last": {"{agent: s, outputs: {severity: string, done: boolean}}", state, 3, model.Answer{Text: "It is bad."}, object("text", "It is bad."), nil, ""},
	} {
		task := taskOf(t, c.node, c.more)
		task.Attempt = c.attempt
		a := modelsOf(fake(func(context.Context, *model.Request, func(string)) (model.Answer, error) { return c.answer, nil })).Run(t.Context(), task)
		if c.fails != "" {
			if a.Failure == nil || !strings.Contains(a.Failure.Error(), c.fails) {
				t.Errorf("%s: %+v", name, a)
			}
			continue
		}
		if a.Failure != nil || !reflect.DeepEqual(a.Result, c.result) || len(c.set)+len(a.Set) > 0 && !reflect.DeepEqual(a.Set, c.set) {
			t.Errorf("%s: %+v (%v)\nwant %+v, set %v", name, a.Result, a.Failure, c.result, c.set)
		}
		if a.Usage == nil || a.Usage.InputTokens == 0 || a.Usage.OutputTokens == 0 || a.Usage.Model != "m" {
			t.Errorf("%s: nothing is known of what it used: %+v", name, a.Usage)
		}
	}
}

// An answer that does not fit is asked for again with the reason.
func TestModelToldWhy(t *testing.T) {
	var seen []*model.Request
	task := taskOf(t, "{agent: s, prompt: Judge., expect: {type: object, required: [score], properties: {score: {type: number}}}}", "")
	task.Attempt, task.Before = 2, &event.Failure{Class: event.ClassInvalidOutput, Message: "the result is not as expected: /score is missing"}
	modelsOf(says(`{"score": 1}`, &seen)).Run(t.Context(), task)
	want := "Judge.\n\nYour last answer was refused: the result is not as expected: /score is missing. Give the whole answer again, without this fault."
	if got := seen[0].Messages[0].Text; got != want {
		t.Errorf("%q", got)
	}
	if !strings.Contains(seen[0].System, `{"properties":{"score":{"type":"number"}},"required":["score"],"type":"object"}`) || seen[0].Schema["type"] != "object" {
		t.Errorf("the model is told %q, %v", seen[0].System, seen[0].Schema)
	}
	task.Before = &event.Failure{Class: event.ClassTimeout, Message: "late"}
	modelsOf(says(`{"score": 1}`, &seen)).Run(t.Context(), task)
	if got := seen[1].Messages[0].Text; got != "Judge." {
		t.Errorf("after a timeout: %q", got)
	}
}

// What a provider's errors become: the class, whether to try again and when, and what
// was used all the same.
func TestModelFailures(t *testing.T) {
	no := false
	for name, c := range map[string]struct {
		answer model.Answer
		err    error
		want   Failure
		used   bool
	}{
		"rate limit": {model.Answer{}, &model.Error{Class: event.ClassRateLimit, Message: "429: slow down", After: time.Minute}, Failure{Class: event.ClassRateLimit, Message: "fake m: 429: slow down", After: time.Minute}, false},
		"final":      {model.Answer{}, model.Final(event.ClassAuth, "401"), Failure{Class: event.ClassAuth, Message: "fake m: 401", Again: &no}, false},
		"broken off": {model.Answer{Text: "Once upon"}, model.Failed(event.ClassNetwork, "broke off"), Failure{Class: event.ClassNetwork, Message: "fake m: broke off"}, true},
		"counted":    {model.Answer{Usage: &event.Usage{InputTokens: 3}}, model.Failed(event.ClassNetwork, "broke off"), Failure{Class: event.ClassNetwork, Message: "fake m: broke off"}, true},
		"unknown":    {model.Answer{}, errors.New("what"), Failure{Class: event.ClassInternal, Message: "fake m: what"}, false},
	} {
		a := modelsOf(fake(func(context.Context, *model.Request, func(string)) (model.Answer, error) { return c.answer, c.err })).Run(t.Context(), taskOf(t, "{agent: s}", ""))
		if a.Failure == nil || !reflect.DeepEqual(*a.Failure, c.want) || (a.Usage != nil) != c.used {
			t.Errorf("%s: %+v, used %+v", name, a.Failure, a.Usage)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	late := fake(func(ctx context.Context, _ *model.Request, _ func(string)) (model.Answer, error) {
		<-ctx.Done()
		return model.Answer{}, ctx.Err()
	})
	if a := modelsOf(late).Run(ctx, taskOf(t, "{agent: s}", "")); a.Failure == nil || a.Failure.Class != event.ClassTimeout {
		t.Errorf("late: %+v", a.Failure)
	}
}

// Who is not there, has no provider, no key or too much to say, is named.
func TestModelCannotAsk(t *testing.T) {
	r, _, err := roster.New(roster.Options{NoSpawn: true})
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := secret.Open("")
	if err != nil {
		t.Fatal(err)
	}
	var seen []*model.Request
	m := modelsOf(says("ok", &seen))
	m.Roster, m.Secrets = r, secrets
	m.Accounts["fake"] = Account{KeyName: "FAKE_API_KEY", NeedsKey: true}
	for want, change := range map[string]func(*Task){
		`not_found: no such agent: nobody is called "nobody"`:              func(t *Task) { t.Agent, t.Def.Def.Fields["agent"] = nil, "nobody" },
		`not_found: name is ambiguous`:                                     func(t *Task) { t.Agent, t.Def.Def.Fields["agent"] = nil, "teacher" },
		`not_found: nobody has the role "sommelier"`:                       func(t *Task) { t.Agent = nil; t.Def.Def.Fields["agent"] = ""; t.Def.Def.Fields["role"] = "sommelier" },
		`not_found: agent sara: there is no provider "other"`:              func(t *Task) { t.Agent.Provider = "other" },
		`auth: agent sara: no such secret: KEY: set`:                       func(t *Task) { t.Agent.APIKey = "KEY" },
		`auth: agent sara: there is no API key for fake: set FAKE_API_KEY`: func(*Task) {},
		`internal: the prompt has`:                                         func(t *Task) { t.Prompt, t.Agent.BaseURL = strings.Repeat("x", MaxPrompt), "http://x" },
	} {
		task := taskOf(t, "{agent: s}", "")
		change(task)
		if a := m.Run(t.Context(), task); a.Failure == nil || !strings.HasPrefix(a.Failure.Error(), want) || a.Failure.Again == nil || *a.Failure.Again {
			t.Errorf("%+v, want %s", a.Failure, want)
		}
	}
	if len(seen) != 0 {
		t.Errorf("%d requests were made", len(seen))
	}
}

// Keys are the agent's, else the account's, and are in no message and nothing shown.
func TestModelKeys(t *testing.T) {
	os.Setenv(secret.Prefix+"SARA", "sara-key-123")
	t.Cleanup(func() { os.Unsetenv(secret.Prefix + "SARA") })
	secrets, err := secret.Open("")
	if err != nil {
		t.Fatal(err)
	}
	secrets.Keep("FAKE_API_KEY", "fake-key-456")
	var key, address string
	m := modelsOf(fake(func(_ context.Context, r *model.Request, show func(string)) (model.Answer, error) {
		key, address = r.APIKey, r.BaseURL
		for _, p := range []string{"the key is ", r.APIKey[:4], r.APIKey[4:], " yes"} {
			show(p)
		}
		return model.Answer{}, model.Final(event.ClassAuth, "401: bad key %s", r.APIKey)
	}))
	m.Secrets = secrets
	m.Accounts["fake"] = Account{Key: "fake-key-456", BaseURL: "http://account"}
	for _, c := range []struct{ own, base, key, address string }{
		{"", "", "fake-key-456", "http://account"}, {"SARA", "http://own", "sara-key-123", "http://own"},
	} {
		task := taskOf(t, "{agent: s}", "")
		task.Agent.APIKey, task.Agent.BaseURL, task.Redact = c.own, c.base, secrets.Redactor()
		var shown strings.Builder
		task.Show = func(p string) { shown.WriteString(p) }
		a := m.Run(t.Context(), task)
		if key != c.key || address != c.address {
			t.Errorf("asked %s with %s", address, key)
		}
		if strings.Contains(a.Failure.Message, c.key) || !strings.Contains(a.Failure.Message, "[secret") {
			t.Errorf("%s", a.Failure.Message)
		}
		if got := shown.String(); strings.Contains(got, "key-") || !strings.HasPrefix(got, "the key is [secret ") || !strings.HasSuffix(got, "] yes") {
			t.Errorf("shown %q", got)
		}
	}
}
