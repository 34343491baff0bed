package ui

import (
	"bytes"
	"compress/gzip"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func serve(t *testing.T) *http.ServeMux {
	t.Helper()
	mux := http.NewServeMux()
	for pattern, h := range Routes() {
		mux.Handle(pattern, h)
	}
	return mux
}

func get(mux *http.ServeMux, path string, header ...string) *http.Response {
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w.Result()
}

// The page and all it needs is less than 100 kB on the line, and comes with headers
// that allow nothing but its own script.
func TestPageIsSmallAndStrict(t *testing.T) {
	mux := serve(t)
	index := get(mux, "/runs/01ARZ3NDEKTSV4RRFFQ69G5FAV?at=4")
	html, _ := io.ReadAll(index.Body)
	total := 0
	for _, m := range regexp.MustCompile(`(?:src|href)="(/[^"]*)"`).FindAllSubmatch(html, -1) {
		res := get(mux, string(m[1]), "Accept-Encoding", "gzip")
		b, _ := io.ReadAll(res.Body)
		if res.StatusCode != 200 || res.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: %s, %q", m[1], res.Status, res.Header.Get("Content-Encoding"))
		}
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(z)
		whole, _ := io.ReadAll(get(mux, string(m[1])).Body)
		if err != nil || !bytes.Equal(plain, whole) {
			t.Errorf("%s is another one compressed: %v", m[1], err)
		}
		total += len(b)
		again := get(mux, string(m[1]), "If-None-Match", res.Header.Get("ETag"))
		if again.StatusCode != http.StatusNotModified {
			t.Errorf("%s is sent again: %s", m[1], again.Status)
		}
	}
	t.Logf("%d bytes, compressed", total)
	if total == 0 || total > 100_000 {
		t.Errorf("the page weighs %d bytes", total)
	}
	policy := index.Header.Get("Content-Security-Policy")
	for _, want := range []string{"script-src 'self'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "default-src 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("no %q in %q", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
		t.Errorf("%q", policy)
	}
	if bytes.Contains(html, []byte("<script>")) || bytes.Contains(html, []byte("style=")) {
		t.Errorf("the page has a script or a style in line:\n%s", html)
	}
}

// Nothing in the page names another host, and nothing in its sources makes markup of a
// string.
func TestPageStaysHere(t *testing.T) {
	for _, name := range []string{"app.js", "app.css", "index.html"} {
		b, err := dist.ReadFile("dist/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, url := range regexp.MustCompile(`https?://[^\s"'\x60)]+`).FindAllString(string(b), -1) {
			if !strings.HasPrefix(url, "http://www.w3.org/") { // names of XML vocabularies
				t.Errorf("%s names %s", name, url)
			}
		}
	}
	sources, err := filepath.Glob("src/*.ts*")
	if err != nil || len(sources) < 5 {
		t.Fatal(sources, err)
	}
	for _, name := range sources {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, sink := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "dangerouslySetInnerHTML", "document.write", "eval(", "new Function", "srcdoc", "javascript:"} {
			if bytes.Contains(b, []byte(sink)) {
				t.Errorf("%s has %s", name, sink)
			}
		}
	}
}

// What is written can be read, in both themes: 4.5 to 1 for text (WCAG 1.4.3), 3 to 1
// for what only has to be seen (1.4.11).
func TestContrast(t *testing.T) {
	css, err := os.ReadFile("src/app.css")
	if err != nil {
		t.Fatal(err)
	}
	colors := map[string][2]string{}
	for _, m := range regexp.MustCompile(`--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)`).FindAllStringSubmatch(string(css), -1) {
		colors[m[1]] = [2]string{m[2], m[3]}
	}
	grounds := []string{"ground", "panel", "raised"}
	check := func(name, on string, least float64) {
		t.Helper()
		fg, bg := colors[name], colors[on]
		for i, theme := range []string{"light", "dark"} {
			if fg[i] == "" || bg[i] == "" {
				t.Fatalf("there is no colour %s or %s", name, on)
			}
			if c := contrast(luminance(fg[i]), luminance(bg[i])); c < least {
				t.Errorf("%s on %s, %s: %.2f to 1, want %.1f", name, on, theme, c, least)
			}
		}
	}
	for _, on := range grounds {
		for _, name := range []string{"text", "muted", "accent"} {
			check(name, on, 4.5)
		}
	}
	for _, tone := range []string{"accent", "ok", "warn", "bad", "pause", "idle"} {
		check(tone, tone+"-soft", 4.5)
		check(tone, "panel", 4.5)
		check("text", tone+"-soft", 4.5)
		check("muted", tone+"-soft", 4.5)
	}
	check("on-accent", "accent", 4.5)
}

func luminance(hex string) float64 {
	n, _ := strconv.ParseUint(hex[1:], 16, 32)
	part := func(v uint64) float64 {
		c := float64(v&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*part(n>>16) + 0.7152*part(n>>8) + 0.0722*part(n)
}

func contrast(a, b float64) float64 { return (max(a, b) + 0.05) / (min(a, b) + 0.05) }
