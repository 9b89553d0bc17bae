// Package dialect is the seam to a platform: pure functions between our words and its topics and payloads.
//
// A dialect promises that it does no I/O and keeps no state that a reconnect would have to restore: the same batch
// encodes to the same messages. A caller may not assume that one batch becomes one message.
package dialect

import (
	"edgegateway/adapters/field"
	"edgegateway/gatewayd/command"
)

// MaxPayload is the longest payload, in bytes, that a dialect may make of more than one record: large platforms close
// the connection over anything above 128 kB, and the rest of a batch would be lost time on a slow link.
const MaxPayload = 128_000

// Message is one MQTT message, in either direction.
type Message struct {
	Topic    string
	Payload  []byte
	Retained bool
	QoS      byte
}

// Delivery is how a platform lets us know that it has a message.
type Delivery uint8

// The ways of knowing. ByPuback: QoS 1, the broker's PUBACK. ByFence: messages are QoS 0, and a QoS 1 message that was
// published after them on the same session came back.
const (
	ByPuback Delivery = iota
	ByFence
)

// Config is what a dialect is told of the gateway and of its platform.
type Config struct {
	Gateway string            // the name that the platform knows this box by
	Site    string            // for people
	Version string            // of gatewayd
	Client  string            // MQTT client id; "" for the gateway's name
	Prefix  string            // of topics; "" for the dialect's own
	Epoch   uint32            // of the buffer: sequence numbers count within it
	Since   int64             // when this run of the daemon began, Unix milliseconds
	Plan    []field.Device    // what is wired to the box
	Groups  []*field.Group    // the shapes that those devices' records have
	Options map[string]string // further keys of the platform's table, as written
}

// Session is what a dialect wants of a connection.
type Session struct {
	ClientID  string
	Will      *Message  // published by the broker when we vanish
	Births    []Message // published, in order, after each connect and before anything else
	Farewell  []Message // published before a clean disconnect
	Subscribe []string  // topic filters, QoS 1
	Delivery  Delivery
}

// Batch is a run of records of one class, in the order of their sequence numbers.
type Batch struct {
	Class    field.Class
	Epoch    uint32
	Backfill bool // these did not leave at once
	Records  []field.Record
}

// Dialect is one platform's way of speaking.
type Dialect interface {
	// Session says what to do with a new connection.
	Session() (Session, error)
	// Encode turns a batch into messages. A record that the dialect has no words for is left out without an error.
	Encode(Batch) ([]Message, error)
	// Command reads what came down on a subscribed topic.
	Command(Message) (command.Request, error)
}
