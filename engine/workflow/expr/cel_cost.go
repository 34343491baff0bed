package expr

import (
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// lengths makes functions pay for the text and lists they copy. CEL's own meter
// knows the length of an operand only if its type is known before evaluation.
type lengths struct{}

func (lengths) CallCost(function, overload string, args []ref.Val, result ref.Val) *uint64 {
	switch function {
	case operators.Add, "lowerAscii", "upperAscii", "trim", "split", "join", "matches", "contains", "startsWith", "endsWith", "string":
		n := uint64(1)
		for _, v := range append(args, result) {
			switch v := v.(type) {
			case types.String:
				n += uint64(len(v)) / 10
			case traits.Lister:
				if i, ok := v.Size().(types.Int); ok {
					n += uint64(i) / 10
				}
			}
		}
		return &n
	}
	return nil
}

// unknownSizes leaves the size of every variable open when cost is estimated.
type unknownSizes struct{}

func (unknownSizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}
func (unknownSizes) EstimateSize(cost.AstNode) *cost.SizeEstimate { return nil }
