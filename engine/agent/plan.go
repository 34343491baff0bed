package agent

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow"
)

// Part is one task of a plan.
type Part struct {
	Goal, Description, Validation, Role string

	Before []Built
}

// Built is what a task builds on: another that is done.
type Built struct {
	Description string
	Result      any
}

// prompt tells an agent what its task is.
func (p *Part) prompt() string {
	parts := []string{
		"You do one task of a plan. The goal of the whole is:\n\n" + p.Goal,
		"Your task is:\n\n" + p.Description,
	}
	if p.Validation != "" {
		parts = append(parts, "It is done when this holds:\n\n"+p.Validation)
	}
	for _, b := range p.Before {
		parts = append(parts, fmt.Sprintf("What was done before (%s):\n\n%s", b.Description, inputText(b.Result)))
	}
	return strings.Join(parts, "\n\n")
}

// planning tells an agent to make a plan.
func planning(goal string, spec *workflow.PlanSpec) string {
	roles := "any role that fits, such as analyst, coder, writer, critic or " + workflow.DefaultRole
	if len(spec.Roles) > 0 {
		roles = "one of the roles " + strings.Join(spec.Roles, ", ")
	}
	return fmt.Sprintf(`Break this goal into tasks:

%s

Make 1 to %d tasks. Each has a description (at most %d characters), %s, the numbers of the tasks, counted from 0, whose results it needs (prerequisites), and how one can tell that it is done (validation, at most %d characters). Tasks that need nothing of one another are done at the same time.`,
		goal, workflow.MaxTasks, workflow.MaxDescription, roles, workflow.MaxValidation)
}

// planSchema is what a plan is to look like.
var planSchema = func() map[string]any {
	var s map[string]any
	err := json.Unmarshal(fmt.Appendf(nil, `{"type": "object", "required": ["tasks"], "properties": {"tasks": {"type": "array", "minItems": 1, "maxItems": %d, "items": {
		"type": "object", "required": ["description"], "properties": {
			"description": {"type": "string", "maxLength": %d}, "role": {"type": "string", "maxLength": %d},
			"prerequisites": {"type": "array", "maxItems": %d, "items": {"type": "integer", "minimum": 0}}, "validation": {"type": "string", "maxLength": %d}}}}}}`,
		workflow.MaxTasks, workflow.MaxDescription, workflow.MaxRole, workflow.MaxPrerequisites, workflow.MaxValidation), &s)
	if err != nil {
		panic(err) // the text is constant
	}
	return s
}()

// examplePlan is what is planned where there is no model.
var examplePlan = map[string]any{"tasks": []any{
	map[string]any{"description": "Find out what is known.", "role": "analyst", "prerequisites": []any{}},
	map[string]any{"description": "Do what is to be done.", "role": "executor", "prerequisites": []any{int64(0)}, "validation": "Nothing is left to do."},
}}
