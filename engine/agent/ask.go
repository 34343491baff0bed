package agent

import (
	"github.com/wfd-dev/wfd/engine/agent/sandbox"
	"github.com/wfd-dev/wfd/engine/workflow"
)

// SandboxAsk returns what a program asks of its sandbox, as workflow.ReadSandbox read it.
func SandboxAsk(v any) sandbox.Ask {
	m, _ := v.(map[string]any)
	n := workflow.NodeDef{Fields: m}
	cpu, _ := workflow.ParseDuration(n.Text("cpu")) // it was read before
	network, _ := m["network"].(bool)
	const mega = 1 << 20
	return sandbox.Ask{
		Level: sandbox.Level(n.Text("level")), Least: sandbox.Level(n.Text("least")), Network: network, CPU: cpu,
		Read: n.Texts("read"), Write: n.Texts("write"),
		Memory: mega * int64(n.Int("memory_mb")), File: mega * int64(n.Int("file_mb")), Processes: int64(n.Int("processes")),
	}
}
