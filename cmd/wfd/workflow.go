package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/replay"
)

func (a *app) workflow() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "workflow",
		Aliases: []string{"workflows"},
		Short:   "Register, list, check and draw workflows",
	}
	cmd.AddCommand(
		a.workflowApply("apply FILE...", "Register definitions as the next versions of their names", false),
		a.workflowApply("import FILE...", "Register JSON templates of the original engine", true),
		a.workflowLs(), a.workflowShow(), a.workflowValidate(), a.workflowGraph(), a.workflowPattern(), a.workflowCompose(), a.workflowPlan(), a.workflowFromPlan(),
	)
	return cmd
}

func (a *app) workflowApply(use, short string, template bool) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			texts := make([][]byte, len(args))
			for i, file := range args {
				if texts[i], err = readDefinition(file, template); err != nil {
					return err
				}
			}
			s, err := a.connect(cmd.Context(), writes)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			var done []json.RawMessage
			for i, file := range args {
				reg, raw, err := a.apply(cmd.Context(), s, file, texts[i], template)
				if err != nil {
					return errors.Join(a.printEach(done, len(args)), err) // those before it are registered
				}
				done = append(done, raw)
				if a.output == "table" {
					t := a.text()
					t.printf("%s\tv%d\t%s\n", reg.Name, reg.Version, reg.Hash[:12])
					if err := t.flush(); err != nil {
						return err
					}
				}
			}
			return a.printEach(done, len(args))
		},
	}
}

func (a *app) workflowLs() *cobra.Command {
	var cursor string
	var limit int
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the workflows in their newest version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			s, err := a.connect(cmd.Context(), reads)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			if cursor != "" {
				q.Set("cursor", cursor)
			}
			raw, _, err := s.Do(cmd.Context(), client.Request{Path: "/v1/workflows", Query: q})
			if err != nil {
				return err
			}
			return a.printList(raw, func(t *text) {
				var list client.List[client.Definition]
				if t.err = json.Unmarshal(raw, &list); t.err != nil {
					return
				}
				t.row("NAME", "VERSION", "REGISTERED", "HASH")
				for _, d := range list.Items {
					t.row(d.Name, strconv.Itoa(d.Version), when(d.Registered), d.Hash[:min(12, len(d.Hash))])
				}
				if list.Next != "" {
					a.note("there are more: --cursor %s", list.Next)
				}
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "workflows per page, up to 1000")
	cmd.Flags().StringVar(&cursor, "cursor", "", "continue after the page before")
	return cmd
}

func (a *app) workflowShow() *cobra.Command {
	var version int
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a definition as it was registered",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			s, err := a.connect(cmd.Context(), reads)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			raw, _, err := s.Do(cmd.Context(), workflowRequest(args[0], version))
			if err != nil {
				return err
			}
			return a.print(raw, func(t *text) {
				var d client.Definition
				if t.err = json.Unmarshal(raw, &d); t.err != nil {
					return
				}
				t.printf("# %s, version %d, registered %s, hash %s\n", d.Name, d.Version, when(d.Registered), d.Hash)
				source := d.Source
				if source == "" {
					source = string(d.JSON)
				}
				t.printf("%s\n", strings.TrimRight(source, "\n"))
			})
		},
	}
	cmd.Flags().IntVar(&version, "version", 0, "version; 0 is the newest")
	return cmd
}

func workflowRequest(name string, version int) client.Request {
	return client.Request{Path: "/v1/workflows/" + url.PathEscape(name), Query: url.Values{"version": {strconv.Itoa(version)}}}
}

func (a *app) workflowValidate() *cobra.Command {
	var template bool
	cmd := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check definitions and say everything that is wrong with them",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			bad := false
			var reports []json.RawMessage
			for _, file := range args {
				src, err := readFile(file)
				if err != nil {
					return err
				}
				report, failed := validate(file, src, template)
				bad = bad || failed
				raw, err := json.Marshal(report)
				if err != nil {
					return err
				}
				reports = append(reports, raw)
				if a.output != "table" {
					continue
				}
				t := a.text()
				t.printf("%s: %s\n", file, report.Problems.Summary())
				if err := t.flush(); err != nil {
					return err
				}
				if len(report.Problems) > 0 {
					var b strings.Builder
					report.Problems.Render(&b, false) // to memory
					a.note("%s", strings.TrimRight(b.String(), "\n"))
				}
			}
			if err := a.printEach(reports, len(args)); err != nil {
				return err
			}
			if bad {
				return &coded{exitUsage, nil}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&template, "template", false, "the files are JSON templates of the original engine")
	return cmd
}

// report is what validate prints of one file.
type report struct {
	File     string            `json:"file"`
	Valid    bool              `json:"valid"`
	Name     string            `json:"name,omitempty"`
	Hash     string            `json:"hash,omitempty"`
	Problems workflow.Problems `json:"problems"`
}

func validate(file string, src []byte, template bool) (r report, failed bool) {
	wf, notes, err := api.Compile(file, src, template)
	if err != nil {
		problems, _ := err.(workflow.Problems)
		return report{File: file, Problems: problems}, true
	}
	return report{File: file, Valid: true, Name: wf.Name, Hash: wf.Hash.String(), Problems: notes}, false
}

func (a *app) workflowGraph() *cobra.Command {
	var format, run string
	var version int
	cmd := &cobra.Command{
		Use:   "graph NAME|FILE",
		Short: "Draw a workflow as Mermaid or DOT, with the state of a run on request",
		Long: `Draw a workflow as Mermaid or DOT, with the state of a run on request. With -o json
or yaml the graph is data: nodes, the edges that leave them, and of a run the status
of its nodes and the edges it has taken.`,
		Example: `  wfd workflow graph review.yaml
  wfd workflow graph review --format dot | dot -Tsvg > review.svg
  wfd workflow graph --run RUN`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) == 0 && run == "" {
				return usagef("name a workflow, a file, or a run with --run")
			}
			if format != "mermaid" && format != "dot" {
				return usagef("--format %q: want mermaid or dot", format)
			}
			var wf *workflow.Workflow
			var d workflow.Drawing
			if len(args) == 1 && isFile(args[0]) {
				src, err := readFile(args[0])
				if err != nil {
					return err
				}
				if wf, _, err = api.Compile(args[0], src, false); err != nil {
					return err
				}
			}
			if wf == nil || run != "" {
				s, err := a.connect(cmd.Context(), reads)
				if err != nil {
					return err
				}
				defer closeInto(s, &err)
				if wf, d, err = drawn(cmd.Context(), s, wf, args, version, run); err != nil {
					return err
				}
			}
			if a.output != "table" && !cmd.Flags().Changed("format") {
				return a.printGraph(wf, d, run)
			}
			if format == "dot" {
				return wf.DOT(a.stdout, d)
			}
			return wf.Mermaid(a.stdout, d)
		},
	}
	cmd.Flags().StringVar(&format, "format", "mermaid", "mermaid or dot")
	cmd.Flags().StringVar(&run, "run", "", "show how far this run has come")
	cmd.Flags().IntVar(&version, "version", 0, "version; 0 is the newest")
	return cmd
}

// graph is a workflow's graph as data, with what a run has done in it.
type graph struct {
	replay.Graph
	Hash   string            `json:"hash"`
	Run    string            `json:"run,omitempty"`
	Status map[string]string `json:"status,omitempty"` // of nodes
	Taken  []taken           `json:"taken,omitempty"`  // edges, in declared order
}

type taken struct {
	From string `json:"from"`
	To   string `json:"to"`
	On   string `json:"on,omitempty"` // error or timeout
}

func (a *app) printGraph(wf *workflow.Workflow, d workflow.Drawing, run string) error {
	g := graph{Graph: replay.GraphOf(wf), Hash: wf.Hash.String(), Run: run, Status: d.Status}
	for _, e := range wf.Edges {
		if d.Taken[e.Index] {
			on := map[workflow.EdgeRole]string{workflow.OnError: "error", workflow.OnTimeout: "timeout"}[e.Role]
			g.Taken = append(g.Taken, taken{wf.Nodes[e.From].ID, wf.Nodes[e.To].ID, on})
		}
	}
	raw, err := json.Marshal(g)
	if err != nil {
		return err
	}
	return a.printJSON(raw)
}

// drawn returns the workflow to draw, if it is not given, and what a run has done
// in it.
func drawn(ctx context.Context, s *session, wf *workflow.Workflow, args []string, version int, id string) (*workflow.Workflow, workflow.Drawing, error) {
	d := workflow.Drawing{Status: map[string]string{}, Taken: map[int]bool{}}
	var r client.Run
	if id != "" {
		if err := s.Get(ctx, client.Request{Path: runPath(id)}, &r); err != nil {
			return nil, d, err
		}
	}
	if wf == nil {
		name := r.Workflow
		if len(args) == 1 {
			name = args[0]
		} else {
			version = r.Version
		}
		var err error
		if wf, err = fetch(ctx, s, name, version); err != nil || id == "" {
			return wf, d, err
		}
	}
	var st client.State
	if err := s.Get(ctx, client.Request{Path: runPath(id) + "/state"}, &st); err != nil {
		return nil, d, err
	}
	for node, n := range st.Nodes {
		d.Status[node] = n.Status
	}
	err := readEvents(ctx, s, []string{id}, reading{kinds: []string{"edge.taken"}}, func(raw json.RawMessage) error {
		var e struct {
			Data struct{ From, To, Outcome string }
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		for _, edge := range wf.Edges {
			role := map[string]workflow.EdgeRole{"error": workflow.OnError, "timeout": workflow.OnTimeout}[e.Data.Outcome]
			if wf.Nodes[edge.From].ID == e.Data.From && wf.Nodes[edge.To].ID == e.Data.To && edge.Role == role {
				d.Taken[edge.Index] = true
			}
		}
		return nil
	})
	return wf, d, err
}

// fetch returns a registered workflow, ready to be drawn.
func fetch(ctx context.Context, s *session, name string, version int) (*workflow.Workflow, error) {
	var def client.Definition
	if err := s.Get(ctx, workflowRequest(name, version), &def); err != nil {
		return nil, err
	}
	wf, _, err := api.Compile(def.Name+".json", def.JSON, false)
	return wf, err
}

func (a *app) workflowPattern() *cobra.Command {
	var name, out string
	var set []string
	cmd := &cobra.Command{
		Use:   "pattern " + strings.Join(workflow.PatternNames(), "|"),
		Short: "Write a definition from the library of patterns",
		Example: `  wfd workflow pattern review-refine --name essay --set generator=writer --set critic=editor > essay.yaml
  wfd workflow pattern consensus --set participants=ann,bob,eve`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			given, err := pairs("set", set)
			if err != nil {
				return err
			}
			params := workflow.Params{}
			if name != "" {
				given["name"] = name
			}
			for k, v := range given {
				params[k] = parameter(v)
			}
			def, err := workflow.Pattern(args[0], params)
			if err != nil {
				return usagef("%w", err)
			}
			return a.write(def, out)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the workflow")
	cmd.Flags().StringArrayVar(&set, "set", nil, "parameter=value, a list with commas; may be repeated")
	cmd.Flags().StringVar(&out, "out", "", "write to this file")
	return cmd
}

// parameter reads a parameter of a pattern: a number, a list with commas, or text.
func parameter(s string) any {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return f
	}
	if strings.Contains(s, ",") {
		var list []any
		for _, x := range strings.Split(s, ",") {
			list = append(list, strings.TrimSpace(x))
		}
		return list
	}
	return s
}

func (a *app) workflowCompose() *cobra.Command {
	var cond, out string
	cmd := &cobra.Command{
		Use:   "compose FILE FILE",
		Short: "Join two definitions: where the first ends the second starts",
		Args:  cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			var defs [2]*workflow.Definition
			for i, file := range args {
				src, err := readFile(file)
				if err != nil {
					return err
				}
				wf, _, err := api.Compile(file, src, false)
				if err != nil {
					return err
				}
				defs[i] = wf.Def
			}
			def, err := workflow.Compose(defs[0], defs[1], cond)
			if err != nil {
				return usagef("%w", err)
			}
			return a.write(def, out)
		},
	}
	cmd.Flags().StringVar(&cond, "if", "", "start the second only if this condition is met")
	cmd.Flags().StringVar(&out, "out", "", "write to this file")
	return cmd
}

// write writes a definition as YAML, or as JSON if that is asked for.
func (a *app) write(def *workflow.Definition, file string) error {
	if file == "" && a.output != "table" && a.output != "yaml" {
		raw, err := def.MarshalJSON()
		if err != nil {
			return err
		}
		return a.printJSON(raw)
	}
	b, err := def.YAML()
	if err != nil {
		return err
	}
	if file != "" {
		if err := os.WriteFile(file, b, 0o644); err != nil {
			return usagef("%w", err)
		}
		return nil
	}
	_, err = a.stdout.Write(b)
	return err
}
