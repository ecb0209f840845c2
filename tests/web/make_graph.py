"""Writes a graph in text form with about as many nodes as are asked for: a decoder of many layers, each with three
projections of one input, a few gated experts, and two residuals. Run as `make_graph.py 100000 > graph.gir`."""

import sys

WIDTH, HEAD, HIDDEN, EXPERTS = 64, 32, 96, 12
# Norm, projections, attention's stand-in, and eight nodes for each expert.
PER_LAYER = 2 + 3 * 2 + 4 + 1 + 2 + EXPERTS * 9


class Writer:
    def __init__(self):
        self.lines = []

    def op(self, text, ty, scope):
        name = f"%v{len(self.lines)}"
        self.lines.append(f'  {name} = {text} : {ty} in "{scope}"')
        return name

    def weight(self, name, rows, columns, scope):
        ty = f"f32[{rows}, {columns}]" if columns else f"f32[{rows}]"
        return self.op(f'weight {{name = "{name}.weight"}}', ty, scope)

    def linear(self, x, name, rows, columns):
        weight = self.weight(name, rows, columns, name)
        return self.op(f"matmul {x}, {weight} {{transpose_b = true}}", f"f32[tokens, {rows}]", name)

    def norm(self, x, name):
        weight = self.weight(name, WIDTH, 0, name)
        return self.op(f"rms_norm {x}, {weight} {{eps = 0.00001}}", f"f32[tokens, {WIDTH}]", name)


def layer(w, x, path):
    wide = f"f32[tokens, {WIDTH}]"
    attention = f"{path}.self_attn"
    y = w.norm(x, f"{path}.input_layernorm")
    q = w.linear(y, f"{attention}.q_proj", WIDTH, WIDTH)
    k = w.linear(y, f"{attention}.k_proj", WIDTH, WIDTH)
    v = w.linear(y, f"{attention}.v_proj", WIDTH, WIDTH)
    scores = w.op(f"mul {q}, {k}", wide, attention)
    mixed = w.op(f"mul {scores}, {v}", wide, attention)
    out = w.linear(mixed, f"{attention}.o_proj", WIDTH, WIDTH)
    x = w.op(f"add {x}, {out}", wide, path)
    y = w.norm(x, f"{path}.post_attention_layernorm")
    for expert in range(EXPERTS):
        name = f"{path}.mlp.experts.{expert}"
        gate = w.linear(y, f"{name}.gate_proj", HIDDEN, WIDTH)
        up = w.linear(y, f"{name}.up_proj", HIDDEN, WIDTH)
        gate = w.op(f"silu {gate}", f"f32[tokens, {HIDDEN}]", name)
        both = w.op(f"mul {gate}, {up}", f"f32[tokens, {HIDDEN}]", name)
        down = w.linear(both, f"{name}.down_proj", WIDTH, HIDDEN)
        x = w.op(f"add {x}, {down}", wide, f"{path}.mlp")
    return x


def graph(nodes):
    w = Writer()
    x, at = "%x", 0
    while len(w.lines) < nodes:
        x = layer(w, x, f"model.layers.{at}")
        at += 1
    wide = f"f32[tokens, {WIDTH}]"
    body = "\n".join(w.lines)
    return f"graph @generated(%x: {wide}) -> ({wide}) {{\n{body}\n  return {x}\n}}\n"


if __name__ == "__main__":
    sys.stdout.write(graph(int(sys.argv[1])))
