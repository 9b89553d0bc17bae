package meter

import (
	"maps"
	"math"
	"slices"
	"strconv"

	"edgegateway/adapters/field"
)

// Point is a tag, bound. T is what its protocol made of the tag's address and type.
type Point[T any] struct {
	Tag   field.Tag
	Where T
	kind  field.Kind
	scale field.Scaling
	slot  int
}

// Text says that the point's values are texts; else they are numbers.
func (p *Point[T]) Text() bool { return p.kind == field.KindString }

// Raw is the number in the meter's own unit for one in the tag's.
func (p *Point[T]) Raw(value float64) float64 { return p.scale.Invert(value) }

// Group is one group of a device: its shape, and its points in the order of the shape's.
type Group[T any] struct {
	Shape  *field.Group
	Points []*Point[T]
}

// Fault reports what is wrong with one key of a tag.
type Fault func(key, value, problem, hint string)

// Bind reads a device's tags. read judges what is the protocol's of one tag, its address, type and whether it can be
// written; it says whether the values are texts, and the unit that they have when the tag does not say another. The
// groups are those that have points, main first. Every fault is a *field.TagError; title is the protocol's name in
// them.
func Bind[T any](dev field.Device, title string, read func(field.Tag, Fault) (where T, text bool, unit string)) (groups []*Group[T], faults []error) {
	main := &Group[T]{Shape: &field.Group{Device: dev.Name, Name: field.MainGroup, Profile: dev.Profile}}
	slow := &Group[T]{Shape: &field.Group{Device: dev.Name, Name: field.SlowGroup, Profile: dev.Profile}}
	seen := map[string]bool{}
	for _, tag := range dev.Tags {
		fault := func(key, value, problem, hint string) {
			faults = append(faults, &field.TagError{Tag: tag.Name, Key: key, Value: value, Problem: problem, Hint: hint})
		}
		before := len(faults)
		g := main
		switch tag.Group {
		case "", field.MainGroup:
		case field.SlowGroup:
			g = slow
		default:
			fault("group", tag.Group, "no such group", field.Suggest(tag.Group, field.MainGroup, field.SlowGroup))
		}
		if seen[tag.Name] {
			fault("name", tag.Name, "this device has two tags of that name", "")
		}
		seen[tag.Name] = true
		p := &Point[T]{Tag: tag, kind: field.KindFloat64}
		where, text, unit := read(tag, fault)
		p.Where = where
		if text {
			p.kind = field.KindString
		}
		p.bindNumber(text, title, fault)
		if len(faults) > before {
			continue
		}
		if tag.Unit != "" {
			unit = tag.Unit
		}
		p.slot = len(g.Points)
		g.Points = append(g.Points, p)
		g.Shape.Points = append(g.Shape.Points, field.Point{Name: tag.Name, Kind: p.kind, Unit: unit})
	}
	for _, g := range []*Group[T]{main, slow} {
		if len(g.Points) > 0 {
			groups = append(groups, g)
		}
	}
	return groups, faults
}

// bindNumber reads scale and offset, and complains about keys that no meter's tag has.
func (p *Point[T]) bindNumber(text bool, title string, fault Fault) {
	tag := p.Tag
	scale := strconv.FormatFloat(tag.Scale, 'g', -1, 64)
	p.scale = field.NewScaling(tag.Scale, tag.Offset)
	switch sum := tag.Scale + tag.Offset; {
	case p.scale.On() && text:
		fault("scale", scale, "only a number can be scaled", "leave scale and offset out")
	case math.IsNaN(sum) || math.IsInf(sum, 0):
		fault("scale", scale, "scale and offset must be finite", "leave them out")
	}
	refuse := func(key, value string, there bool) {
		if there {
			fault(key, value, "a "+title+" tag has no such key", "leave it out")
		}
	}
	refuse("order", tag.Order, tag.Order != "")
	refuse("mask", tag.Mask, tag.Mask != "")
	refuse("length", strconv.Itoa(tag.Length), tag.Length != 0)
	refuse("null", "", len(tag.Null) > 0)
	refuse("enum", "", len(tag.Enum) > 0)
	for _, k := range slices.Sorted(maps.Keys(tag.Extra)) {
		refuse(k, tag.Extra[k], true)
	}
}

// Shapes are what field.Station.Groups gives.
func Shapes[T any](groups []*Group[T]) []*field.Group {
	shapes := make([]*field.Group, len(groups))
	for i, g := range groups {
		shapes[i] = g.Shape
	}
	return shapes
}

// Find gives the group of that name; nil when the device has no points in it.
func Find[T any](groups []*Group[T], name string) *Group[T] {
	for _, g := range groups {
		if g.Shape.Name == name {
			return g
		}
	}
	return nil
}

// Tag finds the point of a tag; nil when there is none.
func Tag[T any](groups []*Group[T], name string) *Point[T] {
	for _, g := range groups {
		for _, p := range g.Points {
			if p.Tag.Name == name {
				return p
			}
		}
	}
	return nil
}
