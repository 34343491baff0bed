package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/examples"
)

func (a *app) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a small project to begin with",
		Long: `Write a small project to DIR, by default the present directory: a workflow, an agent,
scripted answers so that it runs without a key, and a README of three commands. A file
that is there already is left as it is, and nothing else is written then.`,
		Example: `  wfd init tides && wfd dev tides`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			names, err := begin(dir)
			if err != nil {
				return err
			}
			raw, err := json.Marshal(map[string]any{"dir": dir, "files": names})
			if err != nil {
				return err
			}
			return a.print(raw, func(t *text) {
				for _, name := range names {
					t.printf("%s\n", filepath.Join(dir, name))
				}
				a.note("next: wfd dev %s", dir)
			})
		},
	}
}

// begin writes the files of a project to dir, all or none: none if one of them is
// there.
func begin(dir string) (names []string, err error) {
	files, err := fs.Sub(examples.Start, examples.StartDir)
	if err != nil {
		return nil, err
	}
	var there []string
	err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		names = append(names, name)
		_, err = os.Lstat(filepath.Join(dir, filepath.FromSlash(name)))
		if err == nil {
			there = append(there, name)
		} else if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	})
	if err != nil {
		return nil, usagef("%w", err)
	}
	if len(there) > 0 {
		return nil, &coded{exitConflict, fmt.Errorf("%s has %s already; nothing was written\nhint: name another directory", dir, strings.Join(there, ", "))}
	}
	for _, name := range names {
		if err := writeNew(files, name, filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return nil, asStorage(dir, err)
		}
	}
	return names, nil
}

// writeNew writes a file that is not there yet. One that comes to be there meanwhile is
// left as it is.
func writeNew(files fs.FS, name, path string) error {
	text, err := fs.ReadFile(files, name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
