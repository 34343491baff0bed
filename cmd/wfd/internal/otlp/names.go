package otlp

// Names of attributes and of spans. Those of gen_ai are the GenAI semantic conventions
// of OpenTelemetry, which are still in development: they are in this file and nowhere
// else.
const (
	serviceName    = "service.name"
	serviceVersion = "service.version"
	errorType      = "error.type"

	genOperation    = "gen_ai.operation.name"
	genProvider     = "gen_ai.provider.name"
	genModel        = "gen_ai.request.model"
	genAnswered     = "gen_ai.response.model"
	genInput        = "gen_ai.usage.input_tokens"
	genOutput       = "gen_ai.usage.output_tokens"
	genAgent        = "gen_ai.agent.id"
	genTool         = "gen_ai.tool.name"
	genCall         = "gen_ai.tool.call.id"
	genArguments    = "gen_ai.tool.call.arguments" // content
	genResult       = "gen_ai.tool.call.result"    // content
	genConversation = "gen_ai.conversation.id"

	operationChat = "chat"
	operationTool = "execute_tool"

	// wfdCost is in millionths of a dollar, as the log has it.
	wfdCost = "wfd.cost.micro_usd"

	wfdRun      = "wfd.run.id"
	wfdWorkflow = "wfd.workflow.name"
	wfdVersion  = "wfd.workflow.version"
	wfdStatus   = "wfd.run.status"
	wfdNode     = "wfd.node.id"
	wfdVisit    = "wfd.node.visit"
	wfdAttempt  = "wfd.node.attempt"
	wfdThen     = "wfd.node.then"
	wfdForked   = "wfd.run.forked_from"
	wfdInput    = "wfd.input"  // content
	wfdOutput   = "wfd.output" // content
)
