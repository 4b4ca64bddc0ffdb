// Command check verifies a ledger's artefacts with golang.org/x/mod's sumdb/note and sumdb/tlog, which are the
// reference of C2SP signed-note and share nothing with the product. JSON on stdin, verdicts on stdout.
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type input struct {
	Notes []struct {
		Keys []string
		Note []byte
	}
	Inclusion []struct {
		Size, Index int64
		Root, Leaf  []byte
		Proof       [][]byte
	}
	Consistency []struct {
		Size, Old     int64
		Root, OldRoot []byte
		Proof         [][]byte
	}
	Paths []struct {
		Level, Width int
		Number       int64
	}
	Tree *struct {
		Size    int64
		Root    []byte
		Tiles   map[string][]byte // by path, without the height
		Indexes []int64
		Olds    []int64
	}
}

type verdict struct {
	Ok      bool
	Problem string   `json:",omitempty"`
	Text    string   `json:",omitempty"`
	Signers []string `json:",omitempty"`
}

type output struct {
	Notes, Inclusion, Consistency []verdict
	Paths                         []string
	TreeProblem                   string
	RecordProofs, TreeProofs      [][][]byte
}

// cosigner verifies C2SP tlog-cosignature v1, which x/mod does not know, through x/mod's own interface.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.hash }
func (c cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	head := fmt.Sprintf("cosignature/v1\ntime %d\n", binary.BigEndian.Uint64(sig))
	return ed25519.Verify(c.key, append([]byte(head), msg...), sig[8:])
}

func verifier(vkey string) (note.Verifier, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) == 3 {
		raw, err := base64.StdEncoding.DecodeString(parts[2])
		if err == nil && len(raw) == 33 && raw[0] == 4 {
			sum := sha256.Sum256(append([]byte(parts[0]+"\n"), raw...))
			if hex.EncodeToString(sum[:4]) != parts[1] {
				return nil, errors.New("the key's id is not its content's")
			}
			return cosigner{parts[0], binary.BigEndian.Uint32(sum[:4]), raw[1:]}, nil
		}
	}
	return note.NewVerifier(vkey)
}

func open(keys []string, msg []byte) verdict {
	var known []note.Verifier
	for _, key := range keys {
		v, err := verifier(key)
		if err != nil {
			return verdict{Problem: err.Error()}
		}
		known = append(known, v)
	}
	n, err := note.Open(msg, note.VerifierList(known...))
	if err != nil {
		return verdict{Problem: err.Error()}
	}
	v := verdict{Ok: true, Text: n.Text}
	for _, sig := range n.Sigs {
		v.Signers = append(v.Signers, fmt.Sprintf("%s+%08x", sig.Name, sig.Hash))
	}
	return v
}

func hash(raw []byte) (h tlog.Hash) {
	if len(raw) != tlog.HashSize {
		panic("a hash has 32 bytes")
	}
	copy(h[:], raw)
	return h
}

func hashes(raw [][]byte) (list []tlog.Hash) {
	for _, each := range raw {
		list = append(list, hash(each))
	}
	return list
}

func bytesOf(list []tlog.Hash) [][]byte {
	raw := [][]byte{}
	for i := range list {
		raw = append(raw, list[i][:])
	}
	return raw
}

func said(err error) verdict {
	if err != nil {
		return verdict{Problem: err.Error()}
	}
	return verdict{Ok: true}
}

// path is where C2SP serves a tile: x/mod's path without its height.
func path(t tlog.Tile) string { return "tile/" + strings.TrimPrefix(t.Path(), "tile/8/") }

type tiles map[string][]byte

func (t tiles) Height() int                         { return 8 }
func (t tiles) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range wanted {
		found, ok := t[path(tile)]
		if !ok {
			return nil, errors.New("there is no " + path(tile))
		}
		data = append(data, found)
	}
	return data, nil
}

func prove(in *input, out *output) error {
	reader := tlog.TileHashReader(tlog.Tree{N: in.Tree.Size, Hash: hash(in.Tree.Root)}, tiles(in.Tree.Tiles))
	for _, index := range in.Tree.Indexes {
		proof, err := tlog.ProveRecord(in.Tree.Size, index, reader)
		if err != nil {
			return err
		}
		out.RecordProofs = append(out.RecordProofs, bytesOf(proof))
	}
	for _, old := range in.Tree.Olds {
		proof, err := tlog.ProveTree(in.Tree.Size, old, reader)
		if err != nil {
			return err
		}
		out.TreeProofs = append(out.TreeProofs, bytesOf(proof))
	}
	return nil
}

func main() {
	var in input
	var out output
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		panic(err)
	}
	for _, each := range in.Notes {
		out.Notes = append(out.Notes, open(each.Keys, each.Note))
	}
	for _, each := range in.Inclusion {
		err := tlog.CheckRecord(hashes(each.Proof), each.Size, hash(each.Root), each.Index, hash(each.Leaf))
		out.Inclusion = append(out.Inclusion, said(err))
	}
	for _, each := range in.Consistency {
		err := tlog.CheckTree(hashes(each.Proof), each.Size, hash(each.Root), each.Old, hash(each.OldRoot))
		out.Consistency = append(out.Consistency, said(err))
	}
	for _, each := range in.Paths {
		out.Paths = append(out.Paths, path(tlog.Tile{H: 8, L: each.Level, N: each.Number, W: each.Width}))
	}
	if in.Tree != nil {
		if err := prove(&in, &out); err != nil {
			out.TreeProblem = err.Error()
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		panic(err)
	}
}
