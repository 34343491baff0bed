package workflow

import (
	"encoding/json"
	"fmt"
	"sync"
)

// SchemaJSON returns the JSON Schema (draft 2020-12) of definitions, for editors.
// It is made of the same tables as the parser. What it cannot say, the parser
// does: that ids exist, that expressions compile, that loops end.
func SchemaJSON() []byte { return schemaJSON() }

var schemaJSON = sync.OnceValue(func() []byte {
	b, err := json.MarshalIndent(definitionSchema(), "", "  ")
	if err != nil {
		panic("workflow: " + err.Error()) // the tables are constant
	}
	return append(b, '\n')
})

type object = map[string]any

func definitionSchema() object {
	props := properties(topFields)
	props["state"] = object{"type": "object", "description": find(topFields, "state").doc, "additionalProperties": object{"$ref": "#/$defs/key"}, "propertyNames": object{"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "maxLength": MaxID}}
	props["budget"] = record("budget", budgetFields)
	props["nodes"] = object{"description": find(topFields, "nodes").doc, "oneOf": []any{
		object{"type": "object", "minProperties": 1, "maxProperties": MaxNodes, "propertyNames": object{"pattern": "^[A-Za-z_][A-Za-z0-9_-]*$", "maxLength": MaxID}, "additionalProperties": object{"$ref": "#/$defs/node"}},
		object{"type": "array", "minItems": 1, "maxItems": MaxNodes, "items": object{"type": "object", "required": []any{"id"}}},
	}}
	props["edges"] = object{"description": find(topFields, "edges").doc, "type": "array", "maxItems": MaxEdges, "items": object{"$ref": "#/$defs/edge"}}
	props["metadata"] = object{"type": "object", "description": find(topFields, "metadata").doc}
	def := record("", topFields)
	def["properties"] = props
	def["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	def["title"] = "wfd workflow definition"
	def["type"] = "object"
	edge := record("An edge.", edgeFields)
	edge["properties"].(object)["if"] = object{"type": []any{"string", "boolean", "null"}, "maxLength": 1024, "description": find(edgeFields, "if").doc}
	key := record("A key of the state.", keyFields)
	key["properties"].(object)["reduce"].(object)["enum"] = append([]any{"last"}, key["properties"].(object)["reduce"].(object)["enum"].([]any)...)
	def["$defs"] = object{
		"key":      object{"oneOf": []any{key, object{"type": "null"}, object{"enum": anys(find(keyFields, "type").choices)}}},
		"edge":     edge,
		"node":     nodeSchema(),
		"retry":    object{"oneOf": []any{object{"type": "integer", "minimum": 1, "maximum": MaxAttempts}, record("How often a failed attempt is repeated.", retryFields)}},
		"duration": object{"type": "string", "pattern": `^\s*([0-9]+d)?([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))*\s*$`, "examples": []any{"90s", "5m", "1h30m", "2d"}},
		"schema":   object{"type": []any{"object", "boolean"}, "description": "A JSON Schema."},
	}
	return def
}

func anys(words []string) []any {
	l := make([]any, len(words))
	for i, w := range words {
		l[i] = w
	}
	return l
}

// record is an object of a table's fields and no others, except x-….
func record(doc string, table []field) object {
	o := object{"type": "object", "properties": properties(table), "additionalProperties": false, "patternProperties": object{"^x-": true}}
	if doc != "" {
		o["description"] = doc
	}
	var required []any
	for _, f := range table {
		if f.required {
			required = append(required, f.name)
		}
	}
	if required != nil {
		o["required"] = required
	}
	return o
}

func properties(table []field) object {
	props := object{}
	for i := range table {
		props[table[i].name] = table[i].schema()
	}
	return props
}

func (f *field) schema() object {
	o := object{}
	switch f.form {
	case aText, aWord:
		o["type"] = "string"
	case aTexts:
		o["type"], o["items"], o["minItems"] = "array", object{"type": []any{"string", "number", "boolean"}}, 1
	case aTextMap:
		o["type"], o["additionalProperties"] = "object", object{"type": []any{"string", "number", "boolean"}}
	case aWords:
		o["type"], o["items"] = []any{"array", "string"}, object{"type": "string"}
	case aCount:
		o["type"], o["minimum"] = "integer", f.min
		if f.max != 0 {
			o["maximum"] = f.max
		}
	case aNumber, aMoney:
		o["type"], o["minimum"], o["maximum"] = "number", f.min, f.max
	case aBool:
		o["type"] = "boolean"
	case aSpan:
		o["$ref"] = "#/$defs/duration"
	case aWait:
		o["type"] = "string"
	case aSchema:
		o["$ref"] = "#/$defs/schema"
	case aNodeID:
		o["type"] = "string"
	case aChoice:
		o["enum"] = anys(f.choices)
	case special:
		switch f.name {
		case "needs", "outputs":
			o["type"] = []any{"array", "string", "object"}
		case "set":
			o["type"], o["propertyNames"] = "object", object{"pattern": `^(state\.)?[A-Za-z_][A-Za-z0-9_]*$`}
		case "retry":
			o["$ref"] = "#/$defs/retry"
		case "join":
			o["oneOf"] = []any{object{"enum": []any{"all", "any"}}, object{"type": "object", "required": []any{"quorum"}, "additionalProperties": false, "properties": object{"quorum": object{"type": "integer", "minimum": 1}}}}
		case "participants":
			one := record("", participantFields)
			o["type"], o["items"] = []any{"array", "string"}, object{"anyOf": []any{object{"type": "string"}, one}}
		case "sandbox":
			o["anyOf"] = []any{object{"enum": anys(sandboxLevels)}, record("", sandboxFields)}
		case "do":
			o["$ref"] = "#/$defs/node"
		}
	}
	o["description"] = f.doc
	return o
}

// nodeSchema says: a node has a kind, by key or by type, and only fields of that
// kind or of every node.
func nodeSchema() object {
	props := properties(commonFields)
	props["type"] = object{"description": find(commonFields, "type").doc, "type": "string", "pattern": kindPattern()}
	var named []any
	var rules []any
	for i := range kinds {
		k := &kinds[i]
		name := string(k.kind)
		allowed := object{name: true, "type": true}
		for _, f := range append(append([]field{}, k.fields...), commonFields...) {
			allowed[f.name] = true
		}
		for _, f := range k.fields {
			if _, taken := props[f.name]; !taken {
				props[f.name] = object{"description": fmt.Sprintf("%s (%s)", f.doc, name)}
			}
		}
		own := properties(k.fields)
		if _, isField := own[name]; !isField { // the key holds the fields, or the short form
			inner := record(k.doc, append(append([]field{}, k.fields...), commonFields...))
			delete(inner, "required")
			forms := []any{inner, object{"type": "null"}}
			if f := k.field(k.short); f != nil && f.form == aTree {
				forms = append(forms, object{"type": []any{"string", "array"}}) // an object holds the fields
			} else if f != nil {
				forms = append(forms, f.schema())
			} else {
				forms = append(forms, object{"const": true})
			}
			props[name] = object{"description": k.doc, "anyOf": forms}
			own[name] = props[name]
		} else {
			inner := record(k.doc, append(append([]field{}, k.fields...), commonFields...))
			delete(inner, "required")
			both := object{"description": k.doc, "anyOf": []any{own[name], inner, object{"type": "null"}}}
			own[name] = both
			props[name] = object{"description": k.doc}
		}
		named = append(named, object{"required": []any{name}})
		rules = append(rules, object{
			"if":   kindTest(k),
			"then": object{"properties": own, "propertyNames": object{"anyOf": []any{object{"enum": keysOf(allowed)}, object{"pattern": "^x-"}}}},
		})
	}
	named = append(named, object{"required": []any{"type"}}, object{"required": []any{"role"}})
	return object{
		"type": "object", "description": "A node: one key says what it does.", "properties": props, "patternProperties": object{"^x-": true}, "additionalProperties": false,
		"anyOf": named, "allOf": rules,
	}
}

// kindTest matches nodes of a kind.
func kindTest(k *kindSpec) object {
	name := string(k.kind)
	byKey := []any{object{"required": []any{name}}, object{"not": object{"required": []any{"type"}}}}
	for i := range kinds { // an agent beside converge is a field, not the kind
		if other := &kinds[i]; other.kind != k.kind && other.field(name) != nil {
			byKey = append(byKey, object{"not": object{"required": []any{string(other.kind)}}})
		}
	}
	tests := []any{
		object{"required": []any{"type"}, "properties": object{"type": object{"pattern": "^" + foldPattern(name) + "$"}}},
		object{"allOf": byKey},
	}
	return object{"anyOf": tests}
}

func keysOf(m object) []any { return anys(sortedKeys(m)) }

func kindPattern() string {
	p := "^("
	for i, n := range kindNames() {
		if i > 0 {
			p += "|"
		}
		p += foldPattern(n)
	}
	return p + ")$"
}

// foldPattern matches a word in any letter case.
func foldPattern(word string) string {
	p := ""
	for _, r := range word {
		p += fmt.Sprintf("[%c%c]", r, r-'a'+'A')
	}
	return p
}
