package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/access"
	"github.com/wfd-dev/wfd/engine/agent/roster"
)

// TestScopes: every operation is closed to whoever does not say who he is, and to
// whoever lacks the scope that it needs; what it is needs no other.
func TestScopes(t *testing.T) {
	agents, problems, err := roster.New(roster.Options{})
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	s := serve(t, func(o *Options) { o.Auth, o.Token, o.Agents = true, "the first", agents })
	tokens := map[access.Scope]string{}
	for _, scope := range access.All {
		resp, body := s.do("POST", "/v1/tokens", `{"name": "`+string(scope)+`", "scopes": ["`+string(scope)+`"]}`, "Authorization: Bearer the first", "Content-Type: application/json")
		var made NewToken
		if err := json.Unmarshal([]byte(body), &made); err != nil || resp.StatusCode != 201 {
			t.Fatalf("%s: %s %s", scope, resp.Status, body)
		}
		tokens[scope] = made.Text
	}
	for _, op := range s.operations() {
		if public[op.id] {
			continue
		}
		need, ok := scopes[op.id]
		if !ok {
			t.Fatalf("%s needs nothing", op.id)
		}
		path := strings.NewReplacer("{id}", "01M84KD0WN38M2V8JMNSE3D6WV", "{name}", "nobody").Replace(op.path)
		ask := func(headers ...string) *http.Response {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, op.method, s.url+path, strings.NewReader("{]"))
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range append(headers, "Content-Type: application/json") {
				name, value, _ := strings.Cut(h, ": ")
				req.Header.Add(name, value)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatalf("%s: %v", op.id, err)
			}
			resp.Body.Close()
			return resp
		}
		good := "Authorization: Bearer " + tokens[access.Admin]
		for name, headers := range map[string][]string{
			"no token": nil, "a wrong one": {"Authorization: Bearer wfd_aaaaaaaa_" + strings.Repeat("a", 52)},
			"two": {good, good}, "another scheme": {"Authorization: Basic " + tokens[access.Admin]}, "no scheme": {"Authorization: " + tokens[access.Admin]},
			"in the address only": {"X-Token: " + tokens[access.Admin]},
		} {
			if resp := ask(headers...); resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s with %s: %s", op.id, name, resp.Status)
			}
		}
		for _, scope := range access.All {
			allowed := access.Scopes{scope}.Allow(need)
			resp := ask("Authorization: Bearer " + tokens[scope])
			if forbidden := resp.StatusCode == http.StatusForbidden; forbidden == allowed || resp.StatusCode == http.StatusUnauthorized {
				t.Errorf("%s with %s: %s, and it needs %s", op.id, scope, resp.Status, need)
			}
		}
	}
	for id := range scopes {
		if !s.has(id) {
			t.Errorf("there is no operation %s that could need a scope", id)
		}
	}
}

type op struct{ id, method, path string }

// operations returns what the API's own description says that it has.
func (s *server) operations() (ops []op) {
	var doc struct {
		Paths map[string]map[string]struct{ OperationID string } `json:"paths"`
	}
	if err := json.Unmarshal(s.api.spec(), &doc); err != nil {
		s.t.Fatal(err)
	}
	for path, methods := range doc.Paths {
		for method, o := range methods {
			ops = append(ops, op{o.OperationID, strings.ToUpper(method), path})
		}
	}
	if len(ops) < 40 {
		s.t.Fatalf("only %d operations", len(ops))
	}
	return ops
}

func (s *server) has(id string) bool {
	for _, op := range s.operations() {
		if op.id == id {
			return true
		}
	}
	return false
}

// TestTokensComeAndGo: a token that was made lets in at once, is named as the actor,
// and lets nobody in once it is revoked, also by an engine that has the same log.
func TestTokensComeAndGo(t *testing.T) {
	s := serve(t, func(o *Options) { o.Auth = true })
	inside := func(method, path, body string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(WithActor(t.Context(), "cli:ann"), method, path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.api.ServeHTTP(w, req)
		if w.Code >= 300 {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		return w.Body.String()
	}
	var made NewToken
	if err := json.Unmarshal([]byte(inside("POST", "/v1/tokens", `{"name": "ci", "scopes": ["operate"], "reason": "builds"}`)), &made); err != nil {
		t.Fatal(err)
	}
	bearer := "Authorization: Bearer " + made.Text
	if resp, body := s.do("POST", "/v1/workflows", "name: one\nnodes: {a: {end: completed}}\n", bearer, "Content-Type: application/yaml"); resp.StatusCode >= 300 {
		t.Fatalf("%s %s", resp.Status, body)
	}
	if log := inside("GET", "/v1/audit/log", ""); !strings.Contains(log, `"actor":"token:ci"`) || !strings.Contains(log, `"how":"token"`) {
		t.Errorf("the audit trail does not name the token: %s", log)
	}
	if list := inside("GET", "/v1/tokens", ""); strings.Contains(list, made.Text) || strings.Contains(list, "hash") || !strings.Contains(list, `"name":"ci"`) {
		t.Errorf("tokens: %s", list)
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		inside("POST", "/v1/tokens", `{"name": "`+name+`", "scopes": ["read"]}`)
	}
	var names []string
	for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
		var page List[access.Token]
		if err := json.Unmarshal([]byte(inside("GET", "/v1/tokens?limit=2&cursor="+cursor, "")), &page); err != nil || pages > 2 {
			t.Fatal(pages, err)
		}
		for _, k := range page.Items {
			names = append(names, k.Name)
		}
		cursor = page.Next
	}
	if got := strings.Join(names, " "); got != "d c b a ci" {
		t.Errorf("tokens by pages of two: %s", got)
	}
	inside("POST", "/v1/tokens/ci/revoke", `{"reason": "over"}`)
	if resp, body := s.do("GET", "/v1/runs", "", bearer); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("after it was revoked: %s %s", resp.Status, body)
	}
}

// TestSession: the page is open to everybody and shows nothing; with a cookie for a
// token that it has shown it is whoever the token is of, for as long as that is good.
func TestSession(t *testing.T) {
	s := serve(t, func(o *Options) {
		o.Auth = true
		o.Page = map[string]http.Handler{"GET /{$}": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("page")) })}
	})
	_, text, err := s.api.o.Engine.CreateToken(t.Context(), access.Spec{Name: "ann", Scopes: []string{"read"}}, "cli:ann")
	if err != nil {
		t.Fatal(err)
	}
	if resp, body := s.do("GET", "/", ""); resp.StatusCode != http.StatusOK || body != "page" {
		t.Fatalf("the page: %s %s", resp.Status, body)
	}
	if resp, body := s.do("POST", "/v1/session", `{"token": "wrong"}`); resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("Set-Cookie") != "" {
		t.Errorf("a wrong token: %s %s", resp.Status, body)
	}
	resp, body := s.do("POST", "/v1/session", `{"token": "`+text+`"}`)
	if resp.StatusCode != http.StatusNoContent || len(resp.Cookies()) != 1 {
		t.Fatalf("a good token: %s %s", resp.Status, body)
	}
	c := resp.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode {
		t.Errorf("others can have the cookie: %+v", c)
	}
	cookie := "Cookie: " + c.Name + "=" + c.Value
	if resp, body := s.do("GET", "/v1/runs", "", cookie); resp.StatusCode != http.StatusOK {
		t.Errorf("with the cookie: %s %s", resp.Status, body)
	}
	if resp, body := s.do("POST", "/v1/workflows", "name: a", cookie); resp.StatusCode != http.StatusForbidden {
		t.Errorf("more than the token may: %s %s", resp.Status, body)
	}
	if resp, body := s.do("POST", "/v1/runs/x/cancel", "", cookie, "Origin: https://evil.example"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a post from another site: %s %s", resp.Status, body)
	}
	if resp, body := s.do("DELETE", "/v1/session", "", cookie, "Origin: https://evil.example"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("another site logs somebody out: %s %s", resp.Status, body)
	}
	resp, body = s.do("DELETE", "/v1/session", "", cookie)
	if resp.StatusCode != http.StatusNoContent || len(resp.Cookies()) != 1 || resp.Cookies()[0].Name != c.Name || resp.Cookies()[0].MaxAge >= 0 {
		t.Errorf("logging out: %s %s %v", resp.Status, body, resp.Cookies())
	}
	if _, err := s.api.o.Engine.RevokeToken(t.Context(), "ann", "", "cli:ann"); err != nil {
		t.Fatal(err)
	}
	if resp, body := s.do("GET", "/v1/runs", "", cookie); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("after the token was revoked: %s %s", resp.Status, body)
	}
	if resp, _ := s.do("GET", "/", "", cookie); resp.StatusCode != http.StatusOK {
		t.Errorf("the page, which asks for another: %s", resp.Status)
	}
}

// TestTokensThatNeverExpire: a token that is to live for no time is not one for ever.
func TestTokensThatNeverExpire(t *testing.T) {
	s := serve(t, nil)
	for expires, want := range map[string]int{`"0s"`: 422, `0`: 422, `"-1h"`: 422, `"1h"`: 201} {
		body := `{"name": "ci", "scopes": ["read"], "expires": ` + expires + `}`
		if resp, got := s.do("POST", "/v1/tokens", body, "Content-Type: application/json"); resp.StatusCode != want {
			t.Errorf("expires %s: %s %s, want %d", expires, resp.Status, got, want)
		}
	}
}
