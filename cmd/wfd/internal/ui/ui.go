// Package ui is the page: what a browser shows of the daemon. Its sources are in
// src, in TypeScript with Preact, signals and dagre; what is served is the bundle in
// dist, which is committed, so that nobody who builds wfd needs Node. "make ui" makes
// it anew, and a test compares.
//
// The page speaks to nothing but the HTTP API of the daemon it came from, as any
// other client does: it has no routes of its own that could show or do more. It carries
// no data itself, so that it is served without a token; what it asks for is not.
//
// What it shows was written by agents, tools and strangers. It goes into the document as
// text and never as markup, and the headers are for the day on which somebody forgets
// that: no script but the bundle, no way to make markup of a string (trusted types), no
// other host, no frame.
package ui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:generate go run ./bundle

//go:embed dist
var dist embed.FS

// policy is the page's Content-Security-Policy.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// places are the addresses at which the page opens by itself: the page tells them
// apart.
var places = []string{
	"/{$}", "/runs", "/runs/{rest...}", "/diff", "/workflows", "/workflows/{rest...}", "/inbox", "/triggers", "/agents", "/cost", "/audit",
}

// Routes are the page's handlers by the pattern of their address.
func Routes() map[string]http.Handler {
	index := asset("index.html")
	routes := map[string]http.Handler{}
	for _, p := range places {
		routes["GET "+p] = index
	}
	files, err := fs.ReadDir(dist, "dist")
	if err != nil {
		panic("ui: " + err.Error()) // embedded
	}
	for _, f := range files {
		if f.Name() != "index.html" {
			routes["GET /ui/"+f.Name()] = asset(f.Name())
		}
	}
	return routes
}

// types are the media types of what the bundle has.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
}

// asset serves a file of the bundle, compressed for whoever takes that. A browser asks
// each time whether it is still the same: the next daemon at this address may be
// another one.
func asset(name string) http.Handler {
	body, err := dist.ReadFile("dist/" + name)
	if err != nil {
		panic("ui: " + err.Error()) // embedded
	}
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	packed := sync.OnceValue(func() []byte { return pack(body) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", types[path.Ext(name)])
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache")
		h.Set("Vary", "Accept-Encoding")
		h.Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
			w.Write(packed())
			return
		}
		w.Write(body)
	})
}

func pack(b []byte) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // a level there is
	z.Write(b)                                              // into memory
	z.Close()
	return out.Bytes()
}
