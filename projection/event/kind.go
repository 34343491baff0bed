package event

import (
	"fmt"
	"strings"

	"github.com/wfd-dev/wfd/eventlog"
)

// Kinds of events. These numbers are on disk: never change or reuse one.
const (
	KindDefinitionRegistered eventlog.Kind = 1

	KindRunCreated   eventlog.Kind = 10
	KindRunCompleted eventlog.Kind = 11
	KindRunFailed    eventlog.Kind = 12
	KindRunCancelled eventlog.Kind = 13
	KindRunPaused    eventlog.Kind = 14
	KindRunResumed   eventlog.Kind = 15
	KindRunWaiting   eventlog.Kind = 16
	KindRunForked    eventlog.Kind = 17
	KindRunRestored  eventlog.Kind = 18
	KindRunImported  eventlog.Kind = 19

	KindNodeScheduled eventlog.Kind = 20
	KindNodeStarted   eventlog.Kind = 21
	KindNodeCompleted eventlog.Kind = 22
	KindNodeFailed    eventlog.Kind = 23
	KindNodeRetried   eventlog.Kind = 24
	KindNodeLost      eventlog.Kind = 25
	KindNodeSkipped   eventlog.Kind = 26

	KindEdgeTaken eventlog.Kind = 30
	KindStateSet  eventlog.Kind = 31

	KindTimerSet   eventlog.Kind = 40
	KindTimerFired eventlog.Kind = 41

	KindSignalReceived eventlog.Kind = 50
	KindInputRequested eventlog.Kind = 51
	KindInputReceived  eventlog.Kind = 52

	KindChildStarted eventlog.Kind = 60
	KindChildEnded   eventlog.Kind = 61

	KindCheckpointCreated eventlog.Kind = 70
	KindCheckpointPruned  eventlog.Kind = 71

	KindCostReserved eventlog.Kind = 80
	KindCostSettled  eventlog.Kind = 81

	KindBudgetExceeded eventlog.Kind = 90
	KindBudgetRaised   eventlog.Kind = 91

	KindAgentChosen eventlog.Kind = 100
	KindToolCalled  eventlog.Kind = 101

	KindResultIgnored eventlog.Kind = 110

	KindPayloadErased eventlog.Kind = 120

	KindLogRestored     eventlog.Kind = 130
	KindKeyRotated      eventlog.Kind = 131
	KindDataKeysChanged eventlog.Kind = 195

	KindChatTurn  eventlog.Kind = 140
	KindChatEnded eventlog.Kind = 141

	KindPlanMade eventlog.Kind = 150

	KindTriggerSet        eventlog.Kind = 170
	KindTriggerPaused     eventlog.Kind = 171
	KindTriggerResumed    eventlog.Kind = 172
	KindTriggerDeleted    eventlog.Kind = 173
	KindTriggerFired      eventlog.Kind = 174
	KindTriggerDelivered  eventlog.Kind = 175
	KindSecurityWarned    eventlog.Kind = 160
	KindSecurityBlocked   eventlog.Kind = 161
	KindSecurityRequested eventlog.Kind = 162
	KindSecurityGranted   eventlog.Kind = 163
	KindSecurityDenied    eventlog.Kind = 164

	KindTokenCreated eventlog.Kind = 180
	KindTokenRevoked eventlog.Kind = 181
)

type kindInfo struct {
	name string
	make func() Payload
}

var kinds = map[eventlog.Kind]kindInfo{
	KindDefinitionRegistered: {"definition.registered", func() Payload { return new(DefinitionRegistered) }},
	KindRunCreated:           {"run.created", func() Payload { return new(RunCreated) }},
	KindRunCompleted:         {"run.completed", func() Payload { return new(RunCompleted) }},
	KindRunFailed:            {"run.failed", func() Payload { return new(RunFailed) }},
	KindRunCancelled:         {"run.cancelled", func() Payload { return new(RunCancelled) }},
	KindRunPaused:            {"run.paused", func() Payload { return new(RunPaused) }},
	KindRunResumed:           {"run.resumed", func() Payload { return new(RunResumed) }},
	KindRunWaiting:           {"run.waiting", func() Payload { return new(RunWaiting) }},
	KindRunForked:            {"run.forked", func() Payload { return new(RunForked) }},
	KindRunRestored:          {"run.restored", func() Payload { return new(RunRestored) }},
	KindRunImported:          {"run.imported", func() Payload { return new(RunImported) }},
	KindNodeScheduled:        {"node.scheduled", func() Payload { return new(NodeScheduled) }},
	KindNodeStarted:          {"node.started", func() Payload { return new(NodeStarted) }},
	KindNodeCompleted:        {"node.completed", func() Payload { return new(NodeCompleted) }},
	KindNodeFailed:           {"node.failed", func() Payload { return new(NodeFailed) }},
	KindNodeRetried:          {"node.retried", func() Payload { return new(NodeRetried) }},
	KindNodeLost:             {"node.lost", func() Payload { return new(NodeLost) }},
	KindNodeSkipped:          {"node.skipped", func() Payload { return new(NodeSkipped) }},
	KindEdgeTaken:            {"edge.taken", func() Payload { return new(EdgeTaken) }},
	KindStateSet:             {"state.set", func() Payload { return new(StateSet) }},
	KindTimerSet:             {"timer.set", func() Payload { return new(TimerSet) }},
	KindTimerFired:           {"timer.fired", func() Payload { return new(TimerFired) }},
	KindSignalReceived:       {"signal.received", func() Payload { return new(SignalReceived) }},
	KindInputRequested:       {"input.requested", func() Payload { return new(InputRequested) }},
	KindInputReceived:        {"input.received", func() Payload { return new(InputReceived) }},
	KindChildStarted:         {"child.started", func() Payload { return new(ChildStarted) }},
	KindChildEnded:           {"child.ended", func() Payload { return new(ChildEnded) }},
	KindCheckpointCreated:    {"checkpoint.created", func() Payload { return new(CheckpointCreated) }},
	KindCheckpointPruned:     {"checkpoint.pruned", func() Payload { return new(CheckpointPruned) }},
	KindCostReserved:         {"cost.reserved", func() Payload { return new(CostReserved) }},
	KindCostSettled:          {"cost.settled", func() Payload { return new(CostSettled) }},
	KindBudgetExceeded:       {"budget.exceeded", func() Payload { return new(BudgetExceeded) }},
	KindBudgetRaised:         {"budget.raised", func() Payload { return new(BudgetRaised) }},
	KindAgentChosen:          {"agent.chosen", func() Payload { return new(AgentChosen) }},
	KindToolCalled:           {"tool.called", func() Payload { return new(ToolCalled) }},
	KindResultIgnored:        {"result.ignored", func() Payload { return new(ResultIgnored) }},
	KindPayloadErased:        {"payload.erased", func() Payload { return new(PayloadErased) }},
	KindLogRestored:          {"log.restored", func() Payload { return new(LogRestored) }},
	KindKeyRotated:           {"key.rotated", func() Payload { return new(KeyRotated) }},
	KindDataKeysChanged:      {"data_keys.changed", func() Payload { return new(DataKeysChanged) }},
	KindChatTurn:             {"chat.turn", func() Payload { return new(ChatTurn) }},
	KindChatEnded:            {"chat.ended", func() Payload { return new(ChatEnded) }},
	KindTriggerSet:           {"trigger.set", func() Payload { return new(TriggerSet) }},
	KindTriggerPaused:        {"trigger.paused", func() Payload { return new(TriggerPaused) }},
	KindTriggerResumed:       {"trigger.resumed", func() Payload { return new(TriggerResumed) }},
	KindTriggerDeleted:       {"trigger.deleted", func() Payload { return new(TriggerDeleted) }},
	KindTriggerFired:         {"trigger.fired", func() Payload { return new(TriggerFired) }},
	KindTriggerDelivered:     {"trigger.delivered", func() Payload { return new(TriggerDelivered) }},
	KindSecurityWarned:       {"security.warned", func() Payload { return new(SecurityWarned) }},
	KindSecurityBlocked:      {"security.blocked", func() Payload { return new(SecurityBlocked) }},
	KindSecurityRequested:    {"security.requested", func() Payload { return new(SecurityRequested) }},
	KindSecurityGranted:      {"security.granted", func() Payload { return new(SecurityGranted) }},
	KindSecurityDenied:       {"security.denied", func() Payload { return new(SecurityDenied) }},
	KindTokenCreated:         {"token.created", func() Payload { return new(TokenCreated) }},
	KindTokenRevoked:         {"token.revoked", func() Payload { return new(TokenRevoked) }},
	KindPlanMade:             {"plan.made", func() Payload { return new(PlanMade) }},
}

var kindsByName = func() map[string]eventlog.Kind {
	m := make(map[string]eventlog.Kind, len(kinds))
	for k, info := range kinds {
		m[info.name] = k
	}
	return m
}()

// KindName returns the name of a kind, as "node.completed".
func KindName(k eventlog.Kind) string {
	if info, ok := kinds[k]; ok {
		return info.name
	}
	return fmt.Sprintf("unknown.%d", k)
}

// KindOf returns the kind called name; ok is false if there is none.
func KindOf(name string) (k eventlog.Kind, ok bool) {
	k, ok = kindsByName[name]
	return k, ok
}

// IsKindPrefix reports whether s ends in a dot and kinds begin with it, as "run.".
func IsKindPrefix(s string) bool {
	if !strings.HasSuffix(s, ".") {
		return false
	}
	for name := range kindsByName {
		if strings.HasPrefix(name, s) {
			return true
		}
	}
	return false
}
