package expr

import (
	"fmt"
	"reflect"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// adapter turns our values into CEL's, lists and maps without copying.
type adapter struct{}

func (adapter) NativeToValue(v any) ref.Val {
	switch v := v.(type) {
	case nil:
		return types.NullValue
	case ref.Val:
		return v
	case bool:
		return types.Bool(v)
	case int64:
		return types.Int(v)
	case int:
		return types.Int(v)
	case float64:
		return types.Double(v)
	case string:
		return types.String(v)
	case []any:
		return types.NewDynamicList(adapter{}, v)
	case map[string]any:
		return types.NewStringInterfaceMap(adapter{}, v)
	case Object:
		return &object{o: v}
	}
	return types.DefaultTypeAdapter.NativeToValue(v)
}

// object is an Object as CEL's map. Looking at one key reads that key alone; what
// needs all of it (equality, iteration) reads all.
type object struct{ o Object }

func (o *object) full() traits.Mapper {
	return types.NewStringInterfaceMap(adapter{}, plain(o.o).(map[string]any))
}

func (o *object) Find(key ref.Val) (ref.Val, bool) {
	k, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	v, ok := o.o.Get(string(k))
	if !ok {
		return nil, false
	}
	return adapter{}.NativeToValue(v), true
}

func (o *object) Get(key ref.Val) ref.Val {
	if v, ok := o.Find(key); ok {
		return v
	}
	return types.NewErr("no such key: %v", key)
}

func (o *object) Contains(key ref.Val) ref.Val {
	_, ok := o.Find(key)
	return types.Bool(ok)
}

func (o *object) ConvertToNative(t reflect.Type) (any, error) { return o.full().ConvertToNative(t) }
func (o *object) ConvertToType(t ref.Type) ref.Val            { return o.full().ConvertToType(t) }
func (o *object) Equal(other ref.Val) ref.Val                 { return o.full().Equal(other) }
func (o *object) Type() ref.Type                              { return types.MapType }
func (o *object) Value() any                                  { return plain(o.o) }
func (o *object) Iterator() traits.Iterator                   { return o.full().Iterator() }
func (o *object) Size() ref.Val                               { return types.Int(len(o.o.Keys())) }

// toPlain turns CEL's values into ours.
func toPlain(v ref.Val) (any, error) {
	switch v := v.(type) {
	case types.Null:
		return nil, nil
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int64(v), nil
	case types.Uint:
		if v > 1<<63-1 {
			return float64(v), nil
		}
		return int64(v), nil
	case types.Double:
		return float64(v), nil
	case types.String:
		return string(v), nil
	case types.Bytes:
		return string(v), nil
	case types.Timestamp:
		return v.Format(time.RFC3339Nano), nil
	case types.Duration:
		return v.Duration.String(), nil
	case *object:
		return plain(v.o), nil
	case traits.Mapper:
		if m, ok := v.Value().(map[string]any); ok {
			return plain(m), nil
		}
		m := map[string]any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			k := it.Next()
			x, err := toPlain(v.Get(k))
			if err != nil {
				return nil, err
			}
			kp, err := toPlain(k)
			if err != nil {
				return nil, err
			}
			m[Text(kp)] = x
		}
		return m, nil
	case traits.Lister:
		if l, ok := v.Value().([]any); ok {
			return plain(l), nil
		}
		l := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			x, err := toPlain(it.Next())
			if err != nil {
				return nil, err
			}
			l = append(l, x)
		}
		return l, nil
	case *types.Err:
		return nil, v
	}
	return nil, fmt.Errorf("a value of type %s cannot leave an expression", v.Type().TypeName())
}

// scalar is v as a plain Go value if it is a simple one, else v itself.
func scalar(v ref.Val) any {
	switch v := v.(type) {
	case types.Int:
		return int64(v)
	case types.Double:
		return float64(v)
	case types.String:
		return string(v)
	case types.Bool:
		return bool(v)
	case types.Null:
		return nil
	}
	return v
}
