// Package validate checks payloads before handlers get them, by the rules of
// github.com/go-playground/validator.
//
//	type Order struct {
//		Item  string `json:"item" validate:"required,max=64"`
//		Count int    `json:"count" validate:"min=1,max=100"`
//	}
//
//	validate.On(ns, "order", func(ctx context.Context, s *core.Socket, o Order) (Receipt, error) { … })
//
// A payload that breaks a rule is answered with the code "invalid", and the fields
// and their rules as data; the handler does not run. A type may have a method
// Validate() error besides, for what no tag can say.
package validate

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/go-playground/validator/v10"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/event"
)

// Code is what a client is told whose payload is not valid.
const Code = "invalid"

// A Validator checks one value. *validator.Validate is one. It is called from many
// goroutines.
type Validator interface {
	Struct(v any) error
}

// A Field is a part of a payload that breaks a rule. A list of them is the data of
// the error.
type Field struct {
	// Path leads to the field by the names that are on the wire, as in
	// "items[2].count". Of several arguments it begins with the index of one,
	// as in "[1].count".
	Path string `json:"path"`
	// Rule is the tag it breaks, as in "max".
	Rule string `json:"rule"`
	// Param is what the rule was given, as in "100".
	Param string `json:"param,omitempty"`
}

// Default is the Validator of On: fields have their names of encoding/json, and
// "required" counts for structs. It is made once; tags and types may be registered
// with it before it is first used.
var Default = sync.OnceValue(func() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		return strings.TrimSuffix(name, "-")
	})
	return v
})

// On is core.On for a handler that gets valid payloads only.
func On[In, Out any](r core.Registry, name string, fn func(ctx context.Context, s *core.Socket, in In) (Out, error)) {
	core.On(r, name, Input(Default(), fn))
}

// Input wraps a handler, so that it gets payloads only that v and the payload's own
// Validate method, if there is one, find valid. v sees structs, pointers to them,
// and the elements of slices, arrays and maps of them. What v panics with becomes an
// error of the event.
//
//	core.On(ns, "order", validate.Input(mine, handler))
func Input[In, Out any](
	v Validator, fn func(ctx context.Context, s *core.Socket, in In) (Out, error),
) func(ctx context.Context, s *core.Socket, in In) (Out, error) {
	return func(ctx context.Context, s *core.Socket, in In) (Out, error) {
		if err := check(v, &in); err != nil {
			var none Out
			return none, err
		}
		return fn(ctx, s, in)
	}
}

// check checks what in points to.
func check(v Validator, in any) error {
	var fields []Field
	value := reflect.ValueOf(in).Elem()
	if several, ok := reflect.TypeAssert[event.Tuple](value); ok {
		value = reflect.ValueOf(event.Values(several))
	}
	if err := each(v, value, "", &fields); err != nil {
		return refusal(err.Error(), nil, err)
	}
	if len(fields) > 0 {
		return refusal("payload is not valid", fields, nil)
	}
	if own, ok := in.(interface{ Validate() error }); ok { // has the methods of the value, too
		if err := own.Validate(); err != nil {
			if _, told := errors.AsType[*core.Error](err); told {
				return err
			}
			return refusal(err.Error(), nil, err)
		}
	}
	return nil
}

// each passes structs to v, also those that are elements.
func each(v Validator, value reflect.Value, path string, fields *[]Field) error {
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		if value.IsNil() {
			return nil
		}
		return each(v, value.Elem(), path, fields)
	case reflect.Struct:
		err := v.Struct(value.Interface())
		if broken, ok := errors.AsType[validator.ValidationErrors](err); ok {
			for _, b := range broken {
				// The validator puts the type of the struct in front.
				name := strings.TrimPrefix(b.Namespace(), value.Type().Name()+".")
				*fields = append(*fields, Field{Path: path + name, Rule: b.Tag(), Param: b.Param()})
			}
			return nil
		}
		return err
	case reflect.Slice, reflect.Array:
		for i := range value.Len() {
			if err := each(v, value.Index(i), fmt.Sprintf("%s[%d].", path, i), fields); err != nil {
				return err
			}
		}
	case reflect.Map:
		for entries := value.MapRange(); entries.Next(); {
			if err := each(v, entries.Value(), fmt.Sprintf("%s[%v].", path, entries.Key()), fields); err != nil {
				return err
			}
		}
	default: // has no fields
	}
	return nil
}

func refusal(message string, fields []Field, err error) error {
	told := core.Errorf(Code, "%s", message)
	if len(fields) > 0 {
		told.Data = fields
	}
	if err == nil {
		return told
	}
	return fmt.Errorf("%w: %w", told, err)
}
