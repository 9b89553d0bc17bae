package native

import (
	"strconv"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/dialect"
)

// Session is told by retained messages: state, and birth in as many parts as it needs.
func (d *Dialect) Session() (dialect.Session, error) {
	client := d.config.Client
	if client == "" {
		client = d.config.Gateway
	}
	offline := d.state(false)
	return dialect.Session{
		ClientID:  client,
		Will:      &offline,
		Births:    append([]dialect.Message{d.state(true)}, d.births()...),
		Farewell:  []dialect.Message{offline},
		Subscribe: []string{d.prefix + "/command"},
		Delivery:  dialect.ByPuback,
	}, nil
}

func (d *Dialect) state(online bool) dialect.Message {
	b := append([]byte(`{"v":1,"gateway":`), field.AppendJSONString(nil, d.config.Gateway)...)
	b = append(b, `,"online":`...)
	b = strconv.AppendBool(b, online)
	b = append(b, `,"epoch":`...)
	b = strconv.AppendUint(b, uint64(d.config.Epoch), 10)
	b = append(b, `,"version":`...)
	b = field.AppendJSONString(b, d.config.Version)
	b = append(b, `,"since":`...)
	b = strconv.AppendInt(b, d.config.Since, 10)
	b = append(b, '}')
	return dialect.Message{Topic: d.prefix + "/state", Payload: b, Retained: true, QoS: 1}
}

// births lists every group that records may come from. A list that is too long for one message goes on in
// {prefix}/birth/2, /3, …: a subscription to {prefix}/birth/# has them all, and "parts" says how many there are. A
// device whose tags do not fit stands in two parts; its tags add up.
func (d *Dialect) births() []dialect.Message {
	const room = dialect.MaxPayload - 256 // for the envelope
	var parts [][]byte
	var part []byte
	device := "" // the one that is open in part
	for _, g := range d.config.Groups {
		for _, p := range g.Points {
			tag := appendTag(nil, p, g.Name)
			switch {
			case len(part) > 0 && len(part)+len(tag) > room:
				parts = append(parts, append(part, "]}"...))
				part = append(d.openDevice(nil, g), tag...)
			case len(part) == 0:
				part = append(d.openDevice(nil, g), tag...)
			case device != g.Device:
				part = append(part, "]},"...)
				part = append(d.openDevice(part, g), tag...)
			default:
				part = append(append(part, ','), tag...)
			}
			device = g.Device
		}
	}
	if len(part) > 0 {
		part = append(part, "]}"...)
	}
	parts = append(parts, part) // also when there is nothing: an empty birth clears what was retained before

	msgs := make([]dialect.Message, len(parts))
	for i, list := range parts {
		b := d.envelope(nil, d.config.Epoch)
		topic := d.prefix + "/birth"
		if len(parts) > 1 {
			b = append(b, `,"part":`...)
			b = strconv.AppendInt(b, int64(i+1), 10)
			b = append(b, `,"parts":`...)
			b = strconv.AppendInt(b, int64(len(parts)), 10)
			if i > 0 {
				topic += "/" + strconv.Itoa(i+1)
			}
		}
		if d.config.Site != "" {
			b = append(b, `,"site":`...)
			b = field.AppendJSONString(b, d.config.Site)
		}
		b = append(b, `,"devices":[`...)
		b = append(b, list...)
		msgs[i] = dialect.Message{Topic: topic, Payload: append(b, "]}"...), Retained: true, QoS: 1}
	}
	return msgs
}

func (d *Dialect) openDevice(to []byte, g *field.Group) []byte {
	to = append(to, `{"device":`...)
	to = field.AppendJSONString(to, g.Device)
	if g.Profile != "" {
		to = append(to, `,"profile":`...)
		to = field.AppendJSONString(to, g.Profile)
	}
	return append(to, `,"tags":[`...)
}

func appendTag(to []byte, p field.Point, group string) []byte {
	to = append(to, `{"tag":`...)
	to = field.AppendJSONString(to, p.Name)
	to = append(to, `,"type":"`...)
	to = append(to, p.Kind.String()...)
	to = append(to, '"')
	if p.Unit != "" {
		to = append(to, `,"unit":`...)
		to = field.AppendJSONString(to, p.Unit)
	}
	to = append(to, `,"group":`...)
	to = field.AppendJSONString(to, group)
	return append(to, '}')
}
