package expr

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

type values map[string]any

func (v values) Var(name string) (any, bool) {
	x, ok := v[name]
	return x, ok
}

var testScope = Scope{Vars: []string{"input", "state", "result", "nodes", "run", "env"}, Refused: map[string]string{"secrets": "not here"}}

func world() values {
	return values{
		"state": map[string]any{
			"a": int64(1), "f": 9.5, "s": "10.0", "b": true, "big": int64(1<<53 + 1), "null": nil, "type": "production",
			"xs": []any{int64(1), int64(2), 2.5}, "u": map[string]any{"n": "x"}, "api_approved": true,
			"iteration_count": int64(2), "max_iterations": 3.0, "status": "active", "odd key": int64(7),
		},
		"nodes":  map[string]any{"a-b": map[string]any{"result": "r"}},
		"result": map[string]any{"approved": true},
	}
}

func TestConditions(t *testing.T) {
	const met, not, fails = "met", "not met", "fails"
	for _, c := range []struct{ text, want, missing string }{
		{"a == 1", met, ""}, {"a == 1.0", met, ""}, {"f >= 9", met, ""}, {"f > 10", not, ""},
		{"state.a == 1", met, ""}, {`s == "10.0"`, met, ""}, {"s == '10.0'", met, ""}, {"s == 10", not, ""}, {"s != 10", met, ""},
		{"api_approved == true", met, ""}, {"iteration_count < max_iterations", met, ""}, {"b", met, ""}, {"!b", not, ""},
		{"status == 'active' && type == 'production'", met, ""}, {"status != 'active'", not, ""}, {"status == 'active' || status == 'pending'", met, ""},
		{"big == 9007199254740993", met, ""}, {"big > 9007199254740992", met, ""},
		{"a < 2 && f > 2 || b == false", met, ""}, {"!(a > 1) && (b || false)", met, ""},

		{"missing_key == 'value'", not, "state.missing_key"}, {"missing_key != 'value'", not, "state.missing_key"}, {"!missing_key", not, "state.missing_key"},
		{"cvss_score >= 9.0 || b == true", met, "state.cvss_score"}, {"b == true || cvss_score >= 9.0", met, "state.cvss_score"},
		{"cvss_score >= 9.0 && b == true", not, "state.cvss_score"}, {"cvss_score >= 9.0 && b == false", not, "state.cvss_score"},
		{"u.m == 'x'", not, "state.u.m"}, {"zz.m.n == 'x'", not, "state.zz"}, {"s.m.z == 'x'", not, "state.s.m"}, {"null.x == 1", "", ""},
		{"env.X == 'y'", not, "env"}, {"has(state.zz)", not, "state.zz"}, {"has(state.a)", met, ""}, {"!has(state.zz) || zz > 1", met, "state.zz"},

		// Text is never ordered, whatever it is compared with.
		{"s >= 9.0", fails, ""}, {"s < '9'", "", ""}, {"s < status", fails, ""}, {"b < 1", fails, ""}, {"xs > 1", fails, ""},
		{"s", fails, ""}, {"a", fails, ""}, {"a && b", fails, ""}, {"a == 1 || s > 1", met, ""}, {"a == 2 || s > 1", fails, ""},

		{"s.contains('10')", met, ""}, {"s.startsWith('x')", not, ""}, {"s.matches('^[0-9.]+$')", met, ""},
		{"xs.all(x, x > 0)", met, ""}, {"xs.exists(x, x == 2.5)", met, ""}, {"size(xs) == 3 && xs[2] == 2.5", met, ""}, {"a in xs", met, ""},
		{"nodes['a-b'].result == 'r'", met, ""}, {"result.approved", met, ""}, {`state["odd key"] == 7`, met, ""}, {`u == {"n": "x"}`, met, ""},
		{"a + 1.5 == 2.5", met, ""}, {"f * 2 == 19", met, ""}, {"a / 2 == 0", met, ""}, {"f / 2 == 4.75", met, ""}, {"a + s == 1", fails, ""}, {"1 / 0 == 1", fails, ""},
		{"double(s) >= 9.0", met, ""}, {"timestamp('2026-01-01T00:00:00Z') < timestamp('2026-02-01T00:00:00Z')", met, ""}, {"duration('90s') > duration('1m')", met, ""},
		{"xs.map(x, x * 2).join(',') == '2,4,5'", met, ""}, {"' A '.trim().lowerAscii() == 'a'", met, ""}, {"'a,b'.split(',')[1] == 'b'", met, ""},
		{"b ? a == 1 : zz == 1", met, "state.zz"}, {"true", met, ""}, {"false", not, ""},
	} {
		cond, err := CompileCondition(c.text, testScope)
		if c.want == "" {
			if err == nil {
				t.Errorf("%s was compiled", c.text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		o := cond.Eval(world())
		got := not
		switch {
		case o.Err != "":
			got = fails
		case o.Met:
			got = met
		}
		if got != c.want || o.Err != "" && o.Met {
			t.Errorf("%s: %s (%s), want %s", c.text, got, o.Err, c.want)
		}
		missing := ""
		for _, r := range o.Reads {
			if r.Missing {
				missing = r.Name
			}
		}
		if missing != c.missing {
			t.Errorf("%s: missing %q, want %q (%+v)", c.text, missing, c.missing, o.Reads)
		}
	}
}

func TestReadsNameWhatWasLookedAt(t *testing.T) {
	cond, err := CompileCondition("f >= 9.0 && (xs[0] == a || nope == 1) && f < 100", testScope)
	if err != nil {
		t.Fatal(err)
	}
	want := []Read{{Name: "state.f", Value: 9.5}, {Name: "state.xs", Value: []any{int64(1), int64(2), 2.5}}, {Name: "state.a", Value: int64(1)}, {Name: "state.nope", Missing: true}}
	if got := cond.Eval(world()).Reads; !reflect.DeepEqual(got, want) {
		t.Errorf("reads %+v, want %+v", got, want)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		text, code, at, says string
	}{
		{"state.value == 'test' && system('rm -rf /')", "function", "system", "no function `system`"},
		{"state.value == 'test' OR 1=1 --", "syntax", "OR", "write ||"},
		{"a == 1 and b", "syntax", "and", "write &&"}, {"not b", "syntax", "not", "write !"},
		{"a = 1", "syntax", "=", "write =="}, {"a <> 1", "syntax", "<>", "write !="}, {"a & b", "syntax", "&", "write &&"},
		{"(a == 1", "syntax", "(", "never closed"}, {"a == 1)", "syntax", ")", "closes nothing"}, {"(a == 1]", "syntax", "]", "cannot close"},
		{"a == ", "syntax", "==", "value is missing"}, {"", "syntax", "", "empty"}, {"a b", "syntax", "b", "operator is missing"},
		{"'abc", "syntax", "'abc", "no closing"}, {"s contains 'x'", "syntax", "contains", "s.contains(…)"},
		{"for == 1", "syntax", "for", `state["for"]`}, {"π == 1", "syntax", "π", "plain letters"}, {"a == 1;", "syntax", ";", "no meaning"},
		{"has(zz)", "syntax", "zz", "has(state.zz)"}, {"s.matches('(')", "type", "'('", "missing closing"}, {"9223372036854775808 == a", "syntax", "9", "64 bits"}, {"a == $b", "syntax", "$", "no meaning"},
		{"contian(s, 'x')", "function", "contian", "did you mean contains"}, {"s.contain('x')", "function", "contain", "did you mean contains"},
		{"xs.all(x)", "function", "all", "list.all(x, condition on x)"}, {"now() > 1", "function", "now", "no function"},
		{"secrets.X == 'a'", "variable", "secrets", "not here"},
		{"1 + 'a' == 2", "type", "+", "a number and text"}, {"'a' < 'b'", "type", "<", "text has no order"}, {"'text'", "type", "'text'", "true or false"}, {"1 + 1", "type", "1 + 1", "this is a number"},
		{"xs.all(x, xs.all(y, xs.all(z, true)))", "limit", "", "inside one another"}, {strings.Repeat("a", MaxCondition+1), "limit", "", "1024 bytes"},
		{strings.Repeat("(", 200) + "a" + strings.Repeat(")", 200), "limit", "", "levels"},
		{"google.protobuf.Duration{seconds: 1} == a", "function", "", "no types"},
		{"a == 1 &&\n  s == 'x' 'y'", "syntax", "'y'", "operator is missing"},
	} {
		_, err := CompileCondition(c.text, testScope)
		var errs Errors
		if !errors.As(err, &errs) || len(errs) == 0 {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		e := errs[0]
		if e.Code != "expression-"+c.code || !strings.Contains(e.Error(), c.says) {
			t.Errorf("%q: %s %v, want %s with %q", c.text, e.Code, e, c.code, c.says)
		}
		if !strings.HasPrefix(e.Text[min(e.Offset, len(e.Text)):], c.at) {
			t.Errorf("%q: points at %q, want %q", c.text, e.Text[min(e.Offset, len(e.Text)):], c.at)
		}
	}
	_, err := CompileCondition("a == 1 &&\n  s == 'x' 'y'", testScope)
	if e := err.(Errors)[0]; e.Line != 2 || e.Column != 12 {
		t.Errorf("line %d, column %d", e.Line, e.Column)
	}
}

func TestTemplates(t *testing.T) {
	for _, c := range []struct {
		in, want any
		refs     string
	}{
		{"plain", "plain", ""}, {int64(3), int64(3), ""}, {nil, nil, ""}, {"", "", ""},
		{"${a}", int64(1), "state.a"}, {"${f}", 9.5, "state.f"}, {"${xs}", []any{int64(1), int64(2), 2.5}, "state.xs"}, {"${big}", int64(1<<53 + 1), "state.big"},
		{"x ${a} y ${xs}", "x 1 y [1,2,2.5]", "state.a state.xs"}, {"${3.0} ${u} ${null1 == null}", nil, ""},
		{"${3.0} ${u} ${b}", `3 {"n":"x"} true`, "state.u state.b"}, {"big ${big}", "big 9007199254740993", "state.big"},
		{"$${a} ${a}", "${a} 1", "state.a"}, {"$${a}", "${a}", ""}, {"cost: $5 {x}", "cost: $5 {x}", ""},
		{"${{'a': [a]}}", map[string]any{"a": []any{int64(1)}}, "state.a"}, {"${'}'}", "}", ""}, {`${"\"}"}`, `"}`, ""}, {`${r'\'}`, `\`, ""},
		{map[string]any{"k": "${a}", "l": []any{"${s}", int64(1)}}, map[string]any{"k": int64(1), "l": []any{"10.0", int64(1)}}, "state.a state.s"},
		{"${nodes['a-b'].result}!", "r!", "nodes.a-b.result"}, {"${timestamp('2026-01-02T03:04:05Z')}", "2026-01-02T03:04:05Z", ""},
		{"${xs.filter(x, x > 1)}", []any{int64(2), 2.5}, "state.xs"}, {"é ${s}", "é 10.0", "state.s"}, {"${a}${s}", "110.0", "state.a state.s"},
		{"${string(a) + '|'}", "1|", "state.a"}, {"${1e300}", 1e300, ""}, {"${state.u}", map[string]any{"n": "x"}, "state.u"},
	} {
		tm, err := CompileTemplate(c.in, testScope)
		if err != nil {
			t.Errorf("%v: %v", c.in, err)
			continue
		}
		got, err := tm.Eval(world())
		if c.want == nil && c.in != nil {
			if err == nil || !strings.Contains(err.Error(), "state.null1 has no value") {
				t.Errorf("%v: %v, %v", c.in, got, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %#v (%v), want %#v", c.in, got, err, c.want)
		}
		if refs := strings.Join(tm.Refs(), " "); refs != c.refs {
			t.Errorf("%v: refs %q, want %q", c.in, refs, c.refs)
		}
		if v, lit := tm.Literal(); lit != (c.refs == "" && !strings.Contains(fmt.Sprint(c.in), "${") || c.in == "$${a}") || lit && !reflect.DeepEqual(v, c.want) {
			t.Errorf("%v: literal %v %v", c.in, v, lit)
		}
	}
}

func TestTemplateErrorsSayWhere(t *testing.T) {
	_, err := CompileTemplate(map[string]any{"ok": "${a}", "list": []any{"x", "é ${a +} and ${system()}"}, "open": "${a"}, testScope)
	errs := err.(Errors)
	if len(errs) != 3 {
		t.Fatalf("%d errors: %v", len(errs), err)
	}
	if e := errs[0]; !reflect.DeepEqual(e.Path, []any{"list", 1}) || e.Column != 7 || e.Text[e.Offset] != '+' {
		t.Errorf("%v column %d offset %d", e.Path, e.Column, e.Offset)
	}
	if e := errs[1]; !strings.HasPrefix(e.Text[e.Offset:], "system") {
		t.Errorf("points at %q", e.Text[e.Offset:])
	}
	if e := errs[2]; e.Offset != 0 || !strings.Contains(e.Error(), "never closed") {
		t.Errorf("%v at %d", e, e.Offset)
	}
}

// lazy is an Object that remembers which keys were asked for.
type lazy struct {
	m     map[string]any
	asked *[]string
}

func (l lazy) Get(k string) (any, bool) {
	*l.asked = append(*l.asked, k)
	v, ok := l.m[k]
	return v, ok
}
func (l lazy) Keys() []string {
	*l.asked = append(*l.asked, "*")
	var keys []string
	for k := range l.m {
		keys = append(keys, k)
	}
	return keys
}

func TestOneKeyOfAnObjectIsReadAlone(t *testing.T) {
	for _, text := range []string{"state.one == 1", "state.one + 1 == 2", "has(state.one)", "state.deep.one == 1", "'one' in state", "state['one'] == 1 && nope == 1"} {
		var asked []string
		obj := lazy{map[string]any{"one": int64(1), "two": "big", "deep": lazy{map[string]any{"one": int64(1)}, &asked}}, &asked}
		cond, err := CompileCondition(text, testScope)
		if err != nil {
			t.Fatal(err)
		}
		if text == "'one' in state" { // a read of the whole, in the outcome
			if o := cond.Eval(values{"state": obj}); !o.Met {
				t.Errorf("%s: %+v", text, o)
			}
			continue
		}
		cond.Eval(values{"state": obj})
		for _, k := range asked {
			if k == "two" || k == "*" {
				t.Errorf("%s reads %v", text, asked)
				break
			}
		}
	}
	var asked []string
	tm, err := CompileTemplate("${state}", testScope)
	if err != nil {
		t.Fatal(err)
	}
	v, err := tm.Eval(values{"state": lazy{map[string]any{"d": lazy{map[string]any{"x": int64(1)}, &asked}}, &asked}})
	if want := map[string]any{"d": map[string]any{"x": int64(1)}}; err != nil || !reflect.DeepEqual(v, want) {
		t.Errorf("%#v, %v", v, err)
	}
	for _, text := range []string{"state == {'a': 1}", "size(state) == 1", "state.all(k, k == 'a')", "state.exists(k, state[k] == 1)"} {
		cond, err := CompileCondition(text, testScope)
		if err != nil {
			t.Fatal(err)
		}
		if o := cond.Eval(values{"state": lazy{map[string]any{"a": int64(1)}, &asked}}); !o.Met {
			t.Errorf("%s: %+v", text, o)
		}
	}
}

func TestHostileExpressionsEnd(t *testing.T) {
	list := make([]any, 3000)
	for i := range list {
		list[i] = int64(i)
	}
	v := values{"state": map[string]any{"xs": list, "s": strings.Repeat("a", 1<<20)}}
	for _, text := range []string{
		"xs.all(a, xs.all(b, a + b >= 0))", "s.matches('(a+)+$') && s.matches('(a|aa)+b')", "xs.map(a, xs.map(b, s + s)).size() > 1",
		"xs.all(a, s.lowerAscii() == s)", "xs.map(a, s.split('')).size() > 1", "xs.all(a, s.contains('b') == false)", "s == s + 'x' || xs == xs",
		"[1,2,3].map(a, [1,2,3].map(b, 'x')).size() == 3", "s.matches(s)", strings.Repeat("!", 900) + "b", strings.Repeat("-", 600) + "1 == 1",
		strings.Repeat("[", 300) + strings.Repeat("]", 300) + " == 1", "a." + strings.Repeat("b.", 400) + "c == 1", strings.Repeat("a || ", 150) + "a",
		strings.Repeat("a ? ", 100) + "b" + strings.Repeat(" : c", 100), "'" + strings.Repeat("\\", 500) + "' == 'x'", strings.Repeat("{", 500),
	} {
		start := time.Now()
		if cond, err := CompileCondition(text, testScope); err == nil {
			cond.Eval(v)
		}
		// Without a limit some of them take years. What they do take is told by the clock of a
		// machine that may have other work.
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("%s took %v", clip(text), d)
		}
	}
	cond, err := CompileCondition("xs.all(a, xs.all(b, a + b >= 0))", testScope)
	if err != nil {
		t.Fatal(err)
	}
	if o := cond.Eval(v); o.Met || !strings.Contains(o.Err, "limit of 100000") {
		t.Errorf("cost limit: %+v", o)
	}
}

func TestConditionsAreSharedSafely(t *testing.T) {
	cond, err := CompileCondition("f >= 9.0 && xs.exists(x, x == a) && s.contains('1')", testScope)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			v := world()
			v["state"].(map[string]any)["f"] = float64(i * 3)
			for range 200 {
				if o := cond.Eval(v); o.Met != (i*3 >= 9) {
					t.Errorf("f = %d: %+v", i*3, o)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestRewriteInfix(t *testing.T) {
	for in, want := range map[string]string{
		"tags contains 'x'":                     "tags.contains('x')",
		"state.name startsWith \"a b\" && !c":   "state.name.startsWith(\"a b\") && !c",
		"a contains b.c || d == 'x contains y'": "a.contains(b.c) || d == 'x contains y'",
		"!a contains 'x'":                       "!a.contains('x')",
		"a.contains('x')":                       "a.contains('x')",
		"contains == 1":                         "contains == 1",
		"score >= 3":                            "score >= 3",
		"'unclosed contains":                    "'unclosed contains",
	} {
		if got := RewriteInfix(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestClosest(t *testing.T) {
	names := []string{"prompt", "agent", "max_tokens", "timeout", "a"}
	for in, want := range map[string]string{"promt": "prompt", "Prompt": "prompt", "maxTokens": "max_tokens", "max-tokens": "max_tokens", "tiemout": "timeout", "agnet": "agent", "xyz": "", "system": "", "b": ""} {
		if got := Closest(in, names); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func BenchmarkCondition(b *testing.B) {
	v := world()
	for _, text := range []string{"f >= 9.0", "f >= 9.0 && a == 1", "f + 1 >= 9.0", "s.contains('1')", "xs.all(x, x > 0)"} {
		cond, err := CompileCondition(text, testScope)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				cond.Eval(v)
			}
		})
	}
}
