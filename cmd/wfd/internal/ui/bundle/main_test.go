package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// What is committed is what the sources give, to the byte: nobody has to take the
// bundle on trust.
func TestBundleIsThatOfTheSources(t *testing.T) {
	dir := filepath.Join("..")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "preact")); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the packages of the page are not installed: npm ci in cmd/wfd/internal/ui")
	}
	want, err := build(dir)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "dist"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if want[e.Name()] == nil {
			t.Errorf("dist/%s comes from nothing", e.Name())
		}
	}
	for name, b := range want {
		got, err := os.ReadFile(filepath.Join(dir, "dist", name))
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("dist/%s is not what the sources give (%v): make ui", name, err)
		}
	}
}

// A mistake in the sources is told with its place.
func TestMistakeHasAPlace(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "src"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"app.tsx": "let x =\n  = 1", "app.css": ""} {
		if err := os.WriteFile(filepath.Join(dir, "src", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err := build(dir)
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("src/app.tsx:2:3: ")) {
		t.Errorf("%v", err)
	}
}
