package engine

import (
	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/run"
)

// past is an engine in which nothing is under way and no worker is waited for.
var past = &Engine{opt: Options{
	Runners: map[workflow.Kind]agent.Runner{workflow.Worker: agent.Unavailable(workflow.Worker)},
}}

// RunIn returns a run as it stands in a log that no engine works on. Without its
// definition, which find returns, it does not say what the run waits for.
func RunIn(log eventlog.Log, id eventlog.RunID, find func(hash string) (*workflow.Workflow, error)) (Run, error) {
	s, err := run.Fold(log, id, run.Newest)
	if err != nil {
		return Run{}, err
	}
	w, err := find(s.Hash)
	if err != nil {
		return past.briefOf(s, nil), nil
	}
	return past.viewOf(s, w), nil
}
