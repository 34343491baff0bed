package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"testing"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/client/internal/daemon"
)

func TestMain(m *testing.M) { os.Exit(daemon.Main(m.Run)) }

// A run is started, followed up to its question, answered, and waited for.
func Example() {
	ctx := context.Background()
	c, err := client.FromEnv() // WFD_ADDR and WFD_TOKEN
	if err != nil {
		log.Fatal(err)
	}
	definition := `
name: publish
nodes:
  draft: {exec: {command: [echo, "On ${input.topic}"]}}
  ask: {needs: [draft], human: {prompt: "Publish?"}}
output: {published: "${nodes.ask.result}"}
`
	if _, err := c.Register(ctx, "publish.yaml", []byte(definition)); err != nil {
		log.Fatal(err)
	}
	run, err := c.Start(ctx, "publish", client.Start{Input: map[string]any{"topic": "tides"}}, client.Key("order-17"))
	if err != nil {
		log.Fatal(err)
	}
	for e, err := range c.Events(ctx, run.ID, client.Follow{Kinds: []string{"node."}}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Kind)
		if e.Kind == "node.completed" {
			break
		}
	}
	if _, err := c.Answer(ctx, run.ID, "ask", true); err != nil {
		log.Fatal(err)
	}
	run, err = c.Wait(ctx, run.ID)
	if err == nil {
		err = run.Err()
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(run.Status, string(run.Output))
	// Output:
	// node.scheduled
	// node.started
	// node.completed
	// completed {"published":true}
}

// What the daemon refuses is told apart with errors.Is, and says what to do.
func ExampleProblem() {
	ctx := context.Background()
	c, err := client.FromEnv()
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.Run(ctx, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
	fmt.Println(errors.Is(err, client.ErrNotFound))

	_, err = c.Register(ctx, "bad.yaml", []byte("name: bad\nnodes: {a: {exce: {}}}"))
	var p *client.Problem
	if errors.As(err, &p) {
		fmt.Println(p.Status, p.Slug(), p.Defects[0].Line, p.Defects[0].Column)
	}
	// Output:
	// true
	// 422 invalid-definition 2 13
}
