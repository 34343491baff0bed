package workflow

import (
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"github.com/wfd-dev/wfd/engine/workflow/source"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Schema is a compiled JSON Schema (draft 2020-12 unless it says otherwise). It
// is safe for concurrent use. This file alone knows the library.
type Schema struct{ s *jsonschema.Schema }

// ErrRemoteSchema is returned for a schema that refers to a document elsewhere:
// nothing is loaded from outside.
var ErrRemoteSchema = errors.New("a schema may refer to its own parts only, not to other documents")

type noLoader struct{}

func (noLoader) Load(string) (any, error) { return nil, ErrRemoteSchema }

const schemaURL = "schema:///"

// CompileSchema compiles a schema given as a plain value.
func CompileSchema(v any) (*Schema, error) {
	switch v.(type) {
	case map[string]any, bool:
	default:
		return nil, errors.New("a schema is an object, or true or false")
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	c.AssertFormat()
	if err := c.AddResource(schemaURL, v); err != nil {
		return nil, fmt.Errorf("not a JSON Schema: %w", err)
	}
	s, err := c.Compile(schemaURL)
	var invalid *jsonschema.SchemaValidationError
	var verr *jsonschema.ValidationError
	switch {
	case err == nil:
		return &Schema{s}, nil
	case errors.Is(err, ErrRemoteSchema), strings.Contains(err.Error(), ErrRemoteSchema.Error()):
		return nil, ErrRemoteSchema
	case errors.As(err, &invalid) && errors.As(invalid.Err, &verr):
		return nil, fmt.Errorf("not a JSON Schema: %w", flatten(verr))
	}
	return nil, fmt.Errorf("not a JSON Schema: %s", strings.ReplaceAll(err.Error(), schemaURL, ""))
}

// Validate returns nil if v (plain values) matches, else a *SchemaError.
func (s *Schema) Validate(v any) error {
	if s == nil {
		return nil
	}
	err := s.s.Validate(v)
	var verr *jsonschema.ValidationError
	if errors.As(err, &verr) {
		return flatten(verr)
	}
	return err
}

// SchemaError says what of a value does not match its schema.
type SchemaError struct{ Faults []SchemaFault }

// SchemaFault is one place that does not match.
type SchemaFault struct {
	Path    string `json:"path"` // JSON pointer, "" for the whole value
	Message string `json:"message"`
}

func (e *SchemaError) Error() string {
	parts := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		parts[i] = f.Message
		if f.Path != "" {
			parts[i] = f.Path + " " + f.Message
		}
	}
	return strings.Join(parts, "; ")
}

var english = message.NewPrinter(language.English)

// flatten turns the library's tree of causes into a list, depth first.
func flatten(v *jsonschema.ValidationError) *SchemaError {
	e := &SchemaError{}
	var walk func(v *jsonschema.ValidationError)
	walk = func(v *jsonschema.ValidationError) {
		switch v.ErrorKind.(type) {
		case *kind.AnyOf, *kind.OneOf, *kind.Not, *kind.Contains:
			// The alternatives' causes contradict one another: say what was wanted.
		default:
			if len(v.Causes) > 0 {
				for _, c := range v.Causes {
					walk(c)
				}
				return
			}
		}
		path := ""
		for _, s := range v.InstanceLocation {
			path += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(s)
		}
		if len(e.Faults) < 20 {
			e.Faults = append(e.Faults, SchemaFault{path, wording(v)})
		}
	}
	walk(v)
	return e
}

func wording(v *jsonschema.ValidationError) string {
	switch k := v.ErrorKind.(type) {
	case *kind.Type:
		return fmt.Sprintf("is %s, wanted is %s", article(k.Got), article(strings.Join(k.Want, " or ")))
	case *kind.Required:
		if len(k.Missing) == 1 {
			return fmt.Sprintf("lacks %q", k.Missing[0])
		}
		return "lacks " + quoted(k.Missing)
	case *kind.AdditionalProperties:
		return "has fields it may not have: " + quoted(k.Properties)
	case *kind.Enum:
		want := make([]string, len(k.Want))
		for i, w := range k.Want {
			want[i] = fmt.Sprintf("%v", w)
		}
		return fmt.Sprintf("is %v, wanted is one of %s", short(k.Got), strings.Join(want, ", "))
	case *kind.Const:
		return fmt.Sprintf("is %v, wanted is %v", short(k.Got), k.Want)
	case *kind.AnyOf:
		return "matches none of the alternatives (anyOf)" + alternatives(v)
	case *kind.OneOf:
		if len(k.Subschemas) > 1 {
			return "matches more than one alternative (oneOf)"
		}
		return "matches none of the alternatives (oneOf)" + alternatives(v)
	case *kind.FalseSchema:
		return "is not allowed"
	}
	return v.ErrorKind.LocalizedString(english)
}

func alternatives(v *jsonschema.ValidationError) string {
	var parts []string
	for _, c := range v.Causes {
		if f := flatten(c); len(f.Faults) > 0 && len(parts) < 4 {
			parts = append(parts, f.Faults[0].Message)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, "; or ")
}

func article(s string) string {
	if s == "array" || s == "object" || s == "integer" {
		return "an " + s
	}
	if s == "null" {
		return s
	}
	return "a " + s
}

func quoted(s []string) string {
	q := make([]string, len(s))
	for i, x := range s {
		q[i] = fmt.Sprintf("%q", x)
	}
	return strings.Join(q, ", ")
}

func short(v any) any {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", source.Clip(s))
	}
	return v
}
