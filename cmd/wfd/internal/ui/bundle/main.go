// Command bundle makes dist of src: what the binary serves. It needs the packages of
// package-lock.json in node_modules ("npm ci"), and no Node: esbuild is a library.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// bundled are the packages that end up in the bundle: their licences go with it.
var bundled = []string{"preact", "@preact/signals", "@preact/signals-core", "@dagrejs/dagre", "@dagrejs/graphlib"}

// copied are the files of src that are taken as they are.
var copied = []string{"index.html", "icon.svg"}

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

// run makes dist in the directory of package ui.
func run(dir string) error {
	files, err := build(dir)
	if err != nil {
		return err
	}
	dist := filepath.Join(dir, "dist")
	if err := os.RemoveAll(dist); err != nil {
		return err
	}
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return err
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dist, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// build returns what dist has to be, by name. The same sources and packages give the
// same bytes.
func build(dir string) (map[string][]byte, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	r := api.Build(api.BuildOptions{
		AbsWorkingDir: dir,
		EntryPoints:   []string{"src/app.tsx", "src/app.css"},
		Outdir:        "dist", Outbase: "src",
		Bundle: true, Format: api.FormatESModule, Target: api.ES2022, Platform: api.PlatformBrowser,
		JSX: api.JSXAutomatic, JSXImportSource: "preact",
		MinifyWhitespace: true, MinifyIdentifiers: true, MinifySyntax: true,
		LegalComments: api.LegalCommentsNone, // they are in NOTICE.txt
		Charset:       api.CharsetUTF8,
		LogLevel:      api.LogLevelSilent,
	})
	var errs []error
	for _, m := range r.Errors {
		at := ""
		if m.Location != nil {
			at = fmt.Sprintf("%s:%d:%d: ", m.Location.File, m.Location.Line, m.Location.Column+1)
		}
		errs = append(errs, fmt.Errorf("%s%s", at, m.Text))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%w\nhint: the packages are installed by npm ci, in %s", err, dir)
	}
	files := map[string][]byte{}
	for _, f := range r.OutputFiles {
		files[filepath.Base(f.Path)] = f.Contents
	}
	for _, name := range copied {
		if files[name], err = os.ReadFile(filepath.Join(dir, "src", name)); err != nil {
			return nil, err
		}
	}
	files["NOTICE.txt"], err = notice(dir)
	return files, err
}

// notice is the licences of what was bundled.
func notice(dir string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("The page of wfd contains these packages.\n")
	for _, name := range slices.Sorted(slices.Values(bundled)) {
		text, err := os.ReadFile(filepath.Join(dir, "node_modules", filepath.FromSlash(name), "LICENSE"))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "\n---- %s ----\n\n%s\n", name, strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n")))
	}
	return b.Bytes(), nil
}
