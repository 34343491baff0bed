package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// clean takes out what could make a terminal do something: control characters
// but for line ends and tabs, and those that change the direction of text. Agents
// and files write what they like.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), unicode.In(r, unicode.Bidi_Control), r == utf8.RuneError:
			return -1
		}
		return r
	}, s)
}

// line is clean on one line of at most n characters.
func line(s string, n int) string {
	s = strings.Join(strings.Fields(clean(s)), " ")
	if utf8.RuneCountInString(s) > n {
		s = string([]rune(s)[:n-1]) + "…"
	}
	return s
}

// many counts: "1 problem", "2 problems".
func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// text writes for people. What it is given is cleaned.
type text struct {
	w     io.Writer
	color bool
	rows  [][]cell
	err   error
}

// cell is a field of a table, clean, and how it is painted.
type cell struct {
	text  string
	paint string // SGR parameters, "": none
}

func (a *app) text() *text {
	return &text{w: a.stdout, color: isTerminal(a.stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// printf writes a line; strings among args are cleaned.
func (t *text) printf(format string, args ...any) {
	t.flush()
	for i, x := range args {
		switch x := x.(type) {
		case string:
			args[i] = clean(x)
		case error, fmt.Stringer:
			args[i] = clean(fmt.Sprint(x))
		}
	}
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format, args...)
	}
}

const (
	cellWidth     = 100
	sentenceWidth = 1000
)

// row adds a row to the table that flush writes.
func (t *text) row(cells ...string) { t.rowOf(cellWidth, cells) }

// said is row for a sentence that is to be read to its end.
func (t *text) said(cells ...string) { t.rowOf(sentenceWidth, cells) }

func (t *text) rowOf(width int, cells []string) {
	r := make([]cell, len(cells))
	for i, c := range cells {
		r[i] = cell{text: line(c, width), paint: statusPaint[c]}
	}
	t.rows = append(t.rows, r)
}

// statusPaint paints words that are a status.
var statusPaint = map[string]string{
	"completed": "32", "failed": "31", "cancelled": "31", "running": "34", "waiting": "33", "paused": "33", "skipped": "2", "pending": "2", "scheduled": "2",
}

// flush writes the table that was begun.
func (t *text) flush() error {
	var widths []int
	for _, r := range t.rows {
		for i, c := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	var b strings.Builder
	for _, r := range t.rows {
		for i, c := range r {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text))
			if i == len(r)-1 {
				pad = ""
			}
			b.WriteString(t.paint(c.paint, c.text) + pad)
			if i < len(r)-1 {
				b.WriteString("  ")
			}
		}
		b.WriteByte('\n')
	}
	t.rows = nil
	if t.err == nil && b.Len() > 0 {
		_, t.err = io.WriteString(t.w, b.String())
	}
	return t.err
}

func (t *text) paint(sgr, s string) string {
	if !t.color || sgr == "" || s == "" {
		return s
	}
	return "\x1b[" + sgr + "m" + s + "\x1b[0m"
}

// when shows a time to the second, "" for none.
func when(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.Local().Format("2006-01-02 15:04:05")
}

// took shows a duration in a few characters.
func took(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// compact shows a JSON value on one line.
func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

// bytesText writes a number of bytes as people read it.
func bytesText(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	x, i := float64(n), 0
	for x >= 1000 && i < len(units)-1 {
		x, i = x/1000, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", x, units[i])
}
