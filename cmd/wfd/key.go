package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/eventlog/durable"
)

// dataKeys reads the file of --key-file; without one there are none.
func (a *app) dataKeys() (crypt.Keys, error) {
	if a.keyFile == "" {
		return nil, nil
	}
	keys, err := crypt.LoadKeys(a.keyFile)
	if err != nil {
		return nil, usagef("--key-file: %w", err)
	}
	return keys, nil
}

func (a *app) key() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Encrypt a data directory: make keys, rotate them, see what is encrypted",
		Long: `A data directory is encrypted from the first time on that it is opened with
--key-file (or WFD_KEY_FILE): the log, its payloads and archives, what is derived
from them, and backups. It is not opened without the key any more. Whoever loses
the key has lost what is encrypted: keep it in two places, neither of them beside
the data. docs/security.md says what is encrypted and what can be seen all the same.`,
	}
	cmd.AddCommand(a.keyNew(), a.keyLs(), a.keyRotate(), a.keyOff())
	return cmd
}

func (a *app) keyNew() *cobra.Command {
	return &cobra.Command{
		Use:   "new [FILE]",
		Short: "Make a key: print it, or put it first into a key file",
		Long: `Make a random key of 256 bits. With FILE it is put before the keys that are there,
so that it is the one that wfd key rotate changes to, and the file is made if there
is none, readable by its owner alone. Without, the line for it is printed.`,
		Example: `  wfd key new wfd.key
  wfd serve --key-file wfd.key`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			k := crypt.NewKey()
			lines := fmt.Sprintf("# key %s, made %s\n%s\n", k.ID, time.Now().UTC().Format(time.DateOnly), k.Line())
			if len(args) == 0 {
				_, err := a.stdout.Write([]byte(lines))
				return err
			}
			if err := prependKey(args[0], lines); err != nil {
				return err
			}
			a.note("key %s is the first one in %s; keep a copy of the file elsewhere", k.ID, args[0])
			return nil
		},
	}
}

// prependKey writes a key file anew with lines before what is in it. If we crash, it is
// as it was. Once it returns the key is there for good: what is encrypted with it next
// must not outlive it.
func prependKey(path, lines string) (err error) {
	b, err := os.ReadFile(path)
	if err == nil {
		_, err = crypt.LoadKeys(path) // what is no key file is left alone
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return usagef("%w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp") // of mode 0600
	if err != nil {
		return usagef("%w", err)
	}
	defer os.Remove(f.Name()) // gone if all went well
	_, err = f.WriteString(lines + string(b))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

func (a *app) keyLs() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "Say which keys there are, and how much is encrypted with which",
		Long: `Say which keys there are, and how much of the log is encrypted with which of the
data keys. It reads through the whole log.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.exchange(cmd.Context(), reads, client.Request{Path: "/v1/encryption"}, showEncryption)
		},
	}
}

func (a *app) keyRotate() *cobra.Command {
	return a.rekey("/v1/encryption/rotate", &cobra.Command{
		Use:   "rotate",
		Short: "Change to the first key of the key file, and to a new data key",
		Long: `Put the data keys under the first key of the key file, which is read again, and
encrypt with a new data key from now on. That is done at once, however large the log:
what was written stays as it is and is read as before. Whoever has the old key and an
old copy of the directory can still read what that had; to encrypt everything anew, so
that the old key opens nothing of what is there, use --rewrite.

The old key stays in the file until it is done: after that it opens older backups alone.`,
		Example: `  wfd key new wfd.key          # the daemon has --key-file wfd.key
  wfd key rotate --reason "ann, who knew the key, has left" --rewrite`,
	})
}

func (a *app) keyOff() *cobra.Command {
	return a.rekey("/v1/encryption/stop", &cobra.Command{
		Use:   "off",
		Short: "Encrypt nothing more",
		Long: `Store what is written from now on as it is. What was encrypted before stays so, and the
key is needed, unless it is decrypted with --rewrite: then the directory opens without
a key. With a key it would be encrypted again: start the daemon without.`,
		Example: `  wfd key off --rewrite`,
	})
}

// rekey completes a command that changes the data keys.
func (a *app) rekey(path string, cmd *cobra.Command) *cobra.Command {
	var body struct {
		Rewrite bool   `json:"rewrite,omitempty"`
		Reason  string `json:"reason,omitempty"`
	}
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.exchange(cmd.Context(), writes, client.Request{Path: path, In: body}, showEncryption)
	}
	cmd.Flags().BoolVar(&body.Rewrite, "rewrite", false, "also write anew what was written before")
	cmd.Flags().StringVar(&body.Reason, "reason", "", "why; it is kept in the log")
	return cmd
}

func showEncryption(t *text, raw []byte) {
	x := answerOf[engine.Encryption](t, raw)
	if t.err != nil {
		return
	}
	if x.Key == "" {
		t.printf("nothing is encrypted\n")
		return
	}
	if x.On {
		t.printf("encrypted with key %s, data key %d\n", x.Key, x.Write)
	} else {
		t.printf("nothing is encrypted any more; what was is so with key %s\n", x.Key)
	}
	t.printf("\n")
	t.row("DATA KEY", "ENCRYPTS")
	for _, n := range slices.Sorted(slices.Values(append(slices.Clone(x.DataKeys), 0))) {
		if n != 0 || x.Bytes[0] != 0 {
			name := "none"
			if n != 0 {
				name = count(int(n))
			}
			t.row(name, bytesText(x.Bytes[n]))
		}
	}
	t.printf("\n")
	switch {
	case !x.On && x.Older > 0:
		t.printf("%s are still encrypted: wfd key off --rewrite\n", bytesText(x.Older))
	case x.On && x.Plain+x.Older > 0:
		t.printf("%s are not encrypted, %s with older data keys: wfd key rotate --rewrite\n", bytesText(x.Plain), bytesText(x.Older))
	}
	for _, name := range x.Kept {
		t.printf("%s is kept as it was when it was damaged: remove it when nobody needs it\n", name)
	}
}
