package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/examples"
	"github.com/wfd-dev/wfd/projection"
)

// devChild is set in the environment of the daemon that "wfd dev" keeps beside its
// keys. Its standard input is a pipe that ends with the one who keeps it.
const devChild = "WFD_DEV_CHILD"

// keeper keeps the daemon of wfd dev in a process of its own, so that it can be killed
// before somebody's eyes and take up what it did.
type keeper struct {
	a    *app
	args []string
	open bool // a browser, once
}

// child is one daemon, from its start to its end.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	url   string
	ended chan struct{}
	err   error // once ended is closed
}

// recoverTime is how long a daemon that was killed is waited for until it is said that
// it takes longer.
const recoverTime = 10 * time.Second

const devKeys = "o open the page · r start a run · k kill -9 the daemon and watch it recover · q quit"

// keep runs the daemon and listens to keys until one of them is q, or ctx ends.
func (k *keeper) keep(ctx context.Context, keys io.Reader) error {
	c, err := k.start("")
	if err != nil {
		return err
	}
	k.a.note("\n  %s\n  %s\n", c.url, devKeys)
	if k.open {
		k.browse(c.url)
	}
	pressed := make(chan byte)
	go func() { // ends with the process: a read of a terminal cannot be ended
		r := bufio.NewReader(keys)
		for {
			b, err := r.ReadByte()
			if err != nil {
				return
			}
			pressed <- b
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return c.end()
		case <-c.ended:
			return c.err
		case b := <-pressed:
			switch b {
			case 'o':
				k.browse(c.url)
			case 'r':
				k.demo(ctx, c)
			case 'k':
				if c, err = k.kill(c); err != nil {
					return err
				}
			case 'q', 3, 4:
				return c.end()
			case '?', 'h':
				k.a.note("  %s\n  %s", c.url, devKeys)
			}
		}
	}
}

// start starts a daemon and waits until it says where it listens; "" is where the
// arguments say.
func (k *keeper) start(addr string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := k.args
	if addr != "" {
		args = append(args[:len(args):len(args)], "--addr", addr)
	}
	c := &child{cmd: exec.Command(self, args...), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), devChild+"=1")
	c.cmd.Stderr = k.a.stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.stdin = in
	line, rerr := bufio.NewReader(out).ReadString('\n')
	go func() {
		io.Copy(io.Discard, out)
		if err := c.cmd.Wait(); err != nil {
			c.err = &coded{max(c.cmd.ProcessState.ExitCode(), 1), nil} // it has said itself what was the matter
		}
		close(c.ended)
	}()
	if rerr != nil {
		<-c.ended
		if c.err == nil {
			c.err = errors.New("the daemon ended before it said where it is")
		}
		return nil, c.err
	}
	if c.url = strings.TrimSpace(line); addr == "" {
		fmt.Fprintln(k.a.stdout, c.url)
	}
	return c, nil
}

// end asks the daemon to end in order, and waits. It does so without a signal: Control-C
// has reached the daemon, too, and a second signal would end it at once.
func (c *child) end() error {
	c.stdin.Close()
	<-c.ended
	return c.err
}

// kill kills the daemon where it is, starts the next one on the same directory and
// address, and says what has become of what it did.
func (k *keeper) kill(c *child) (*child, error) {
	k.a.note("  kill -9 %d", c.cmd.Process.Pid)
	c.cmd.Process.Kill()
	<-c.ended
	began := time.Now()
	_, addr, _ := strings.Cut(c.url, "://")
	next, err := k.start(addr)
	if err != nil {
		return nil, err
	}
	s, err := k.client(next)
	if err != nil {
		return next, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), recoverTime)
	defer cancel()
	for {
		if _, _, err = s.Do(ctx, client.Request{Path: "/readyz"}); err == nil {
			break
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			k.a.note("  it is back, and not ready yet: %v", err)
			return next, nil
		}
	}
	took := time.Since(began).Round(time.Millisecond)
	totals := map[string]int{}
	if err := s.Get(ctx, client.Request{Path: "/v1/totals"}, &totals); err != nil {
		k.a.say(err)
	}
	k.a.note("  back after %s: %d runs are where they were, %d of them go on, and nothing that was finished is done again", took, sum(totals), totals["running"]+totals["waiting"]+totals["pending"])
	return next, nil
}

// client returns a way to a daemon of the keeper's own, which is known by its certificate
// and not by who signed that, or for which name.
func (k *keeper) client(c *child) (*client.Client, error) {
	options := []client.Option{client.Token(k.a.token), client.Patience(0)}
	if k.a.certs.Cert != "" {
		own, err := tls.LoadX509KeyPair(k.a.certs.Cert, k.a.certs.Key)
		if err != nil {
			return nil, err
		}
		options = append(options, client.TLS(&tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
			if !bytes.Equal(s.PeerCertificates[0].Raw, own.Certificate[0]) {
				return errors.New("another certificate than the daemon's")
			}
			return nil
		}}))
	}
	return client.New(c.url, options...)
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

// demo starts a run of the first workflow that takes the input of an example or none.
func (k *keeper) demo(ctx context.Context, c *child) {
	s, err := k.client(c)
	if err != nil {
		k.a.say(err)
		return
	}
	var defs struct{ Items []projection.Definition }
	if err := s.Get(ctx, client.Request{Path: "/v1/workflows"}, &defs); err != nil {
		k.a.say(err)
		return
	}
	slices.SortStableFunc(defs.Items, func(a, b projection.Definition) int { // examples first: their inputs are known
		return cmp.Compare(inputOf(b.Name), inputOf(a.Name))
	})
	for _, d := range defs.Items {
		id, err := startDemo(ctx, s, examples.Demo{Workflow: d.Name, Input: inputOf(d.Name)})
		if err == nil {
			k.a.note("  %s runs: %s/runs/%s", d.Name, c.url, id)
			return
		}
	}
	if len(defs.Items) == 0 {
		k.a.note("  no workflow is registered")
		return
	}
	k.a.note("  no workflow starts without an input: %s/workflows has a form for each", c.url)
}

// inputOf is the input of an example, "" of what is none.
func inputOf(workflow string) string {
	for _, d := range examples.Demos {
		if d.Workflow == workflow {
			return d.Input
		}
	}
	return ""
}

func startDemo(ctx context.Context, s *client.Client, d examples.Demo) (id string, err error) {
	body := map[string]any{}
	if d.Input != "" {
		body["input"] = json.RawMessage(d.Input)
	}
	var r struct{ ID string }
	raw, _, err := s.Do(ctx, client.Request{Path: "/v1/workflows/" + d.Workflow + "/runs", In: body})
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	return r.ID, err
}

// browse opens the page, where there is something to open it with.
func (k *keeper) browse(url string) {
	if err := browse(url); err != nil {
		k.a.note("  no browser was opened (%v): %s", err, url)
	}
}
