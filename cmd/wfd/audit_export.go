package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/eventlog/audit"
)

func (a *app) auditExport() *cobra.Command {
	var from, to uint64
	var format, into string
	var conceal bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write events as lines of JSON, in a form that proves itself",
		Long: `Write the events from one seq to another as lines of JSON. The format jsonl proves
with its last line that these are all events of the range, as they were signed for:
wfd audit verify --from. The format cloudevents is for other systems to take in.

With --into an export that broke off goes on where it was when the command is
repeated. A file of cloudevents goes on with what was appended since.`,
		Example: `  wfd audit export --into log.jsonl
  wfd audit export --from 1000 --to 2000 --conceal > range.jsonl
  wfd audit export --format cloudevents | head`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if a.jq != "" {
				return usagef("--jq would change what is proven: pipe the export into jq")
			}
			if format != string(audit.JSONLines) && format != string(audit.CloudEvents) {
				return usagef("--format %q: want %s or %s", format, audit.JSONLines, audit.CloudEvents)
			}
			out := a.stdout
			if into != "" {
				f, next, done, e := resume(into, audit.Format(format))
				if e != nil {
					return e
				}
				defer func() { err = errors.Join(err, f.Close()) }()
				if done {
					a.note("%s is complete", into)
					return nil
				}
				if next != 0 {
					a.note("%s goes on with seq %d", into, next)
					from = next
				}
				out = f
			}
			if to != 0 && from > to {
				if into != "" && format == string(audit.CloudEvents) {
					return nil // all of it is there
				}
				return usagef("from seq %d to %d there is nothing", from, to)
			}
			s, err := a.connect(cmd.Context(), reads)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			q := url.Values{"from": {strconv.FormatUint(from, 10)}, "to": {strconv.FormatUint(to, 10)}, "format": {format}, "conceal": {strconv.FormatBool(conceal)}}
			err = copyExport(cmd.Context(), s, q, out)
			if f, ok := out.(*os.File); ok && into != "" {
				err = errors.Join(err, f.Sync())
			}
			if err != nil && into != "" {
				a.note("hint: the same command goes on with %s where it broke off", into)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&from, "from", 0, "the first seq (default: the first of the log)")
	f.Uint64Var(&to, "to", 0, "the last seq (default: the last of the log)")
	f.StringVar(&format, "format", string(audit.JSONLines), "jsonl or cloudevents")
	f.StringVar(&into, "into", "", "write to this file, and go on with it if it broke off (default: standard output)")
	f.BoolVar(&conceal, "conceal", false, "leave out the payloads: their salted hashes stand for them")
	return cmd
}

// resume opens the file of an export for going on, cut to what is whole.
func resume(name string, format audit.Format) (f *os.File, next uint64, done bool, err error) {
	f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, 0, false, usagef("%w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	seq, size, done, err := audit.Resume(f)
	if err != nil {
		return nil, 0, false, usagef("%s is not an export: %w", name, err)
	}
	if done {
		return f, 0, true, nil
	}
	next = uint64(seq)
	begin, last, err := lastLine(f, size)
	if err != nil {
		return nil, 0, false, err
	}
	if is := bytes.HasPrefix(last, []byte(`{"specversion"`)); size > 0 && is != (format == audit.CloudEvents) {
		return nil, 0, false, usagef("%s is an export of the other format", name)
	}
	// The last line is written again. It may be that nothing but the closing line
	// is missing, which cannot be had alone.
	if format == audit.JSONLines && size > 0 {
		size = begin
		if !bytes.HasPrefix(last, []byte(`{"format"`)) {
			next--
		}
	}
	if err = f.Truncate(size); err == nil {
		_, err = f.Seek(size, io.SeekStart)
	}
	return f, next, false, err
}

// lastLine returns where the last line of the first size bytes begins, and how.
func lastLine(f io.ReaderAt, size int64) (begin int64, head []byte, err error) {
	buf := make([]byte, 64<<10)
	for end := max(size-1, 0); end > 0; {
		n := min(int64(len(buf)), end)
		if _, err := f.ReadAt(buf[:n], end-n); err != nil {
			return 0, nil, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			begin = end - n + int64(i) + 1
			break
		}
		end -= n
	}
	head = make([]byte, min(size-begin, 64))
	_, err = f.ReadAt(head, begin)
	return begin, head, err
}

// copyExport copies the lines of an export, as they come and as they are. A line
// that is a problem ends it.
func copyExport(ctx context.Context, s *session, q url.Values, out io.Writer) error {
	resp, err := s.Open(ctx, client.Request{Path: "/v1/audit/export", Query: q, Accept: "application/x-ndjson"})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	w := bufio.NewWriterSize(out, 64<<10)
	err = copyLines(w, bufio.NewReaderSize(resp.Body, 64<<10))
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return errors.Join(err, w.Flush())
}

func copyLines(w io.Writer, r *bufio.Reader) error {
	problem := []byte(`{"type":"urn:`)
	for {
		if b, _ := r.Peek(len(problem)); bytes.Equal(b, problem) {
			p := &client.Problem{}
			if err := json.NewDecoder(r).Decode(p); err != nil {
				return fmt.Errorf("%w: the stream broke off", client.ErrUnreachable)
			}
			return p
		}
		for whole := false; !whole; {
			b, err := r.ReadSlice('\n')
			if _, e := w.Write(b); e != nil {
				return e
			}
			switch {
			case errors.Is(err, bufio.ErrBufferFull):
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return fmt.Errorf("%w: the stream broke off", client.ErrUnreachable)
			default:
				whole = true
			}
		}
	}
}
