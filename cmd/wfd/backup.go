package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/backup"
)

func (a *app) backup() *cobra.Command {
	var withKey bool
	cmd := &cobra.Command{
		Use:   "backup DEST",
		Short: "Copy the data directory, while the daemon runs or without one",
		Long: `Make a backup of one moment: all events, payloads, archives, and what was signed.
The daemon goes on meanwhile. DEST is a directory, or a file whose name ends in
.tar.zst. It is read again and compared before it counts: one that is interrupted
is none. Made again into the same directory, it copies only what is new, and is the
old backup until it is the new one. wfd restore makes a data directory of it.

The private key of the log is left out: wfd restore makes a new one. --with-keys
copies it, too, from a directory that no daemon holds; keep such a backup as you
keep the key.`,
		Example: `  wfd backup /mnt/backup/wfd
  wfd backup wfd-$(date +%F).tar.zst
  wfd backup verify /mnt/backup/wfd`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			done, err := a.makeBackup(cmd.Context(), args[0], withKey)
			if err != nil {
				return err
			}
			raw, err := json.Marshal(done)
			if err != nil {
				return err
			}
			return a.print(raw, func(t *text) {
				t.printf("backed up %d events in %d files, %s, of which %s were copied\n", done.Head, done.Files, bytesText(done.Bytes), bytesText(done.Copied))
				showSigned(t, &done.Header)
			})
		},
	}
	cmd.Flags().BoolVar(&withKey, "with-keys", false, "with the log's private key")
	cmd.AddCommand(a.backupVerify())
	return cmd
}

func (a *app) makeBackup(ctx context.Context, dest string, withKey bool) (_ *backup.Done, err error) {
	s, err := a.connect(ctx, reads)
	if err != nil {
		return nil, err
	}
	defer closeInto(s, &err)
	fail, err := killpoint()
	if err != nil {
		return nil, err
	}
	to, err := backup.Open(ctx, dest, backup.OpenOptions{Failpoint: fail})
	if err != nil {
		return nil, backupError(dest, err)
	}
	defer closeInto(to, &err)
	have := to.Have()
	body := make([]byte, 0, len(have)*len(backup.Sum{}))
	for _, sum := range have[:min(len(have), maxHave)] {
		body = append(body, sum[:]...)
	}
	resp, err := s.Open(ctx, client.Request{Path: "/v1/backup", Query: url.Values{"key": {strconv.FormatBool(withKey)}}, In: body, Type: "application/octet-stream"})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	done, err := to.Receive(ctx, resp.Body)
	var said *backup.ProblemError
	if errors.As(err, &said) {
		if p, ok := client.ParseProblem(said.Text); ok {
			return nil, p
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && ctx.Err() == nil {
		return nil, fmt.Errorf("%w: %w", client.ErrUnreachable, err)
	}
	return done, backupError(dest, err)
}

// maxHave is how many files the API may be told of.
const maxHave = 2_000_000

// killpoint lets tests kill a backup or a restore; see [eventlog.Killpoint].
func killpoint() (func(string) error, error) {
	f, err := eventlog.Killpoint()
	if err != nil {
		return nil, usagef("%w", err)
	}
	return f, nil
}

// backupError says of an error that ended a backup, or a restore, what to do.
func backupError(path string, err error) error {
	var damage *backup.DamageError
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, backup.ErrDestination), errors.Is(err, backup.ErrTarget), errors.Is(err, backup.ErrKey):
		return &coded{exitConflict, err}
	case errors.Is(err, backup.ErrFormat), errors.Is(err, eventlog.ErrNoneSoEarly), errors.Is(err, backup.ErrEmpty):
		return &coded{exitUsage, fmt.Errorf("%s: %w", path, err)}
	case errors.Is(err, backup.ErrUnproven):
		return &coded{exitStorage, fmt.Errorf("%s: %w\nhint: somebody has changed them, or an old copy has grown since. Keep it as it is. With --unproven it is restored all the same, and wfd audit verify names what differs", path, err)}
	case errors.As(err, &damage):
		return &coded{exitStorage, fmt.Errorf("%s: %w\nhint: wfd backup verify names all that is damaged", path, err)}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG), errors.Is(err, eventlog.ErrFull):
		return &coded{exitStorage, fmt.Errorf("%s: the disk is full, and what was there before is there still: %w", path, err)}
	}
	return &coded{exitStorage, fmt.Errorf("%s: %w", path, err)}
}

func (a *app) backupVerify() *cobra.Command {
	var keys []string
	cmd := &cobra.Command{
		Use:   "verify BACKUP",
		Short: "Read a whole backup and name every file that is not as it was written",
		Long: `Read a whole backup and name every file of it that is damaged, missing, cut off, or
not of it. Exit 6 if there is one. With --key it is also restored, to a directory in
the place for temporary files (TMPDIR) that goes again, and every event must be as
that key has signed for; without, the head that it says it has must be what the key
in it has signed for. Whoever restores it has all events verified, too.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			public, err := readPublic(keys)
			if err != nil {
				return err
			}
			if len(public) > 1 {
				return usagef("--key: want the keys of one log")
			}
			return a.verifyBackup(cmd.Context(), args[0], public...)
		},
	}
	cmd.Flags().StringArrayVar(&keys, "key", nil, "file with the public key, or with rotations that lead on from it; may be repeated")
	return cmd
}

// isThere is an error if nothing is at path.
func isThere(path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return &coded{exitNotFound, fmt.Errorf("nothing is at %s", path)}
	}
	return nil
}

func (a *app) verifyBackup(ctx context.Context, path string, keys ...*audit.Keys) error {
	if err := isThere(path); err != nil {
		return err
	}
	dataKeys, err := a.dataKeys()
	if err != nil {
		return err
	}
	r, err := backup.Verify(ctx, path, append(keys, nil)[0], dataKeys)
	if err != nil {
		return backupError(path, err)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	err = a.print(raw, func(t *text) {
		for _, p := range r.Problems {
			t.printf("damaged: %s\n", p)
		}
		if len(r.Problems) > 0 {
			return
		}
		t.printf("ok: %d files, %s, as they were written; %d events\n", r.Files, bytesText(r.Bytes), r.Head)
		showSigned(t, &r.Header)
		if len(r.Unfinished) > 0 {
			t.printf("a later backup did not come to its end and left %d files; the next one removes them\n", len(r.Unfinished))
		}
	})
	if err == nil && len(r.Problems) > 0 {
		err = &coded{exitStorage, fmt.Errorf("%s: %d problems", filepath.Clean(path), len(r.Problems))}
	}
	return err
}

func showSigned(t *text, h *backup.Header) {
	t.printf("made %s\n", h.Made.Local().Format(time.RFC3339))
	if h.Origin == "" {
		t.printf("of a log that was never signed\n")
		return
	}
	t.printf("log %s, signed for %d events\n", h.Origin, h.Signed())
}
