"""The three networks in plain PyTorch, with the parameter names of transformers, small enough to read at a glance."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class RMS(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), 1e-6)


def bucket(rel, bidirectional, nb=32, md=128):
    """T5's relative position buckets."""
    out = torch.zeros_like(rel)
    if bidirectional:
        nb //= 2
        out = out + (rel > 0) * nb
        n = rel.abs()
    else:
        n = (-rel).clamp(min=0)
    e = nb // 2
    big = e + (torch.log(n.float().clamp(min=1) / e) / math.log(md / e) * (nb - e)).long()
    return out + torch.where(n < e, n, big.clamp(max=nb - 1))


class T5Attention(nn.Module):
    def __init__(self, d, h, dk):
        super().__init__()
        self.h, self.dk = h, dk
        self.q, self.k, self.v = (nn.Linear(d, h * dk, bias=False) for _ in range(3))
        self.o = nn.Linear(h * dk, d, bias=False)
        nn.init.normal_(self.q.weight, std=(d * dk) ** -0.5)
        for m in (self.k, self.v):
            nn.init.normal_(m.weight, std=d ** -0.5)
        nn.init.normal_(self.o.weight, std=(h * dk) ** -0.5)

    def forward(self, x, kv, bias):
        B, S, _ = x.shape
        q, k, v = (f(t).view(B, -1, self.h, self.dk).transpose(1, 2) for f, t in ((self.q, x), (self.k, kv), (self.v, kv)))
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype), scale=1.0)
        return self.o(a.transpose(1, 2).reshape(B, S, -1))


class T5FF(nn.Module):
    def __init__(self, d, f):
        super().__init__()
        self.wi_0, self.wi_1, self.wo = nn.Linear(d, f, bias=False), nn.Linear(d, f, bias=False), nn.Linear(f, d, bias=False)
        for m in (self.wi_0, self.wi_1):
            nn.init.normal_(m.weight, std=d ** -0.5)
        nn.init.normal_(self.wo.weight, std=f ** -0.5)

    def forward(self, x):
        return self.wo(F.gelu(self.wi_0(x), approximate="tanh") * self.wi_1(x))


class T5(nn.Module):
    """T5 1.1 (gated GELU) with tied embeddings."""

    def __init__(self, V, d=192, f=352, h=6, dk=32, ne=4, nd=3):
        super().__init__()
        self.cfg = dict(V=V, d=d, f=f, h=h, dk=dk, ne=ne, nd=nd)
        self.emb = nn.Embedding(V, d)
        self.eb, self.db = nn.Embedding(32, h), nn.Embedding(32, h)
        for e in (self.eb, self.db):
            nn.init.normal_(e.weight, std=d ** -0.5)
        att = lambda: T5Attention(d, h, dk)
        self.enc = nn.ModuleList(nn.ModuleList([RMS(d), att(), RMS(d), T5FF(d, f)]) for _ in range(ne))
        self.dec = nn.ModuleList(nn.ModuleList([RMS(d), att(), RMS(d), att(), RMS(d), T5FF(d, f)]) for _ in range(nd))
        self.en, self.dn = RMS(d), RMS(d)
        self.d = d

    def forward(self, src, tgt_in):
        dev = src.device
        pad = torch.zeros(src.shape, device=dev).masked_fill(src == 0, -1e9)[:, None, None]
        p = torch.arange(src.shape[1], device=dev)
        bias = self.eb(bucket(p[None] - p[:, None], True)).permute(2, 0, 1)[None] + pad
        x = self.emb(src)
        for n1, a, n2, f in self.enc:
            z = n1(x)
            x = x + a(z, z, bias)
            x = x + f(n2(x))
        mem = self.en(x)
        p = torch.arange(tgt_in.shape[1], device=dev)
        rel = p[None] - p[:, None]
        cb = self.db(bucket(rel, False)).permute(2, 0, 1)[None].masked_fill(rel > 0, -1e9)
        y = self.emb(tgt_in)
        for n1, a, n2, c, n3, f in self.dec:
            z = n1(y)
            y = y + a(z, z, cb)
            y = y + c(n2(y), mem, pad.expand(-1, 1, tgt_in.shape[1], -1))
            y = y + f(n3(y))
        return F.linear(self.dn(y) * self.d ** -0.5, self.emb.weight.to(y.dtype))

    def hf(self):
        """State dictionary under transformers' names."""
        s = {k: v for k, v in self.state_dict().items()}
        out = {"shared.weight": s["emb.weight"], "encoder.final_layer_norm.weight": s["en.weight"], "decoder.final_layer_norm.weight": s["dn.weight"],
               "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": s["eb.weight"],
               "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": s["db.weight"]}
        for stack, name, kinds in (("enc", "encoder", ["SelfAttention", "DenseReluDense"]), ("dec", "decoder", ["SelfAttention", "EncDecAttention", "DenseReluDense"])):
            for k, v in s.items():
                if k.startswith(stack + "."):
                    _, i, j, *rest = k.split(".")
                    sub = "layer_norm" if int(j) % 2 == 0 else kinds[int(j) // 2]
                    out[f"{name}.block.{i}.layer.{int(j) // 2}.{sub}." + ".".join(rest)] = v
        return out


class GPT2(nn.Module):
    def __init__(self, V, d=192, h=6, n=6, P=512):
        super().__init__()
        self.cfg = dict(V=V, d=d, h=h, n=n, P=P)
        self.wte, self.wpe = nn.Embedding(V, d), nn.Embedding(P, d)
        self.h = nn.ModuleList()
        for _ in range(n):
            b = nn.ModuleDict(dict(ln_1=nn.LayerNorm(d), c_attn=nn.Linear(d, 3 * d), c_proj=nn.Linear(d, d), ln_2=nn.LayerNorm(d), c_fc=nn.Linear(d, 4 * d), m_proj=nn.Linear(4 * d, d)))
            self.h.append(b)
        self.ln_f = nn.LayerNorm(d)
        self.nh = h
        for k, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02 / (math.sqrt(2 * n) if "proj" in k else 1))

    def forward(self, ids):
        B, S = ids.shape
        x = self.wte(ids) + self.wpe.weight[:S]
        for b in self.h:
            q, k, v = (t.view(B, S, self.nh, -1).transpose(1, 2) for t in b.c_attn(b.ln_1(x)).chunk(3, -1))
            a = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, S, -1)
            x = x + b.c_proj(a)
            x = x + b.m_proj(F.gelu(b.c_fc(b.ln_2(x)), approximate="tanh"))
        return self.ln_f(x)

    def logits(self, x):
        return F.linear(x, self.wte.weight.to(x.dtype))

    def hf(self):
        out = {}
        for k, v in self.state_dict().items():
            k = k.replace("c_attn", "attn.c_attn").replace(".c_proj", ".attn.c_proj").replace("c_fc", "mlp.c_fc").replace("m_proj", "mlp.c_proj")
            if v.dim() == 2 and k.startswith("h."):
                v = v.t().contiguous()  # Conv1D keeps [in, out]
            out["transformer." + k] = v
        return out


class Bert(nn.Module):
    def __init__(self, V, labels, d=192, h=6, n=5, P=256, drop=0.1):
        super().__init__()
        self.cfg = dict(V=V, labels=labels, d=d, h=h, n=n, P=P)
        self.word, self.pos, self.typ = nn.Embedding(V, d), nn.Embedding(P, d), nn.Embedding(2, d)
        self.ln = nn.LayerNorm(d, eps=1e-12)
        self.layers = nn.ModuleList(nn.ModuleDict(dict(query=nn.Linear(d, d), key=nn.Linear(d, d), value=nn.Linear(d, d), ao=nn.Linear(d, d), aln=nn.LayerNorm(d, eps=1e-12),
                                                       inter=nn.Linear(d, 4 * d), out=nn.Linear(4 * d, d), oln=nn.LayerNorm(d, eps=1e-12))) for _ in range(n))
        self.cls = nn.Linear(d, labels)
        self.nh, self.drop = h, drop
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02 if p.shape[0] > 1000 else 0.04)

    def forward(self, ids):
        B, S = ids.shape
        D = lambda t: F.dropout(t, self.drop, self.training)
        x = D(self.ln(self.word(ids) + self.typ.weight[0] + self.pos.weight[:S]))
        mask = (ids != 0)[:, None, None]
        for b in self.layers:
            q, k, v = (b[n](x).view(B, S, self.nh, -1).transpose(1, 2) for n in ("query", "key", "value"))
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).reshape(B, S, -1)
            x = b.aln(x + D(b.ao(a)))
            x = b.oln(x + D(b.out(F.gelu(b.inter(x)))))
        return self.cls(x)

    def hf(self):
        ren = dict(query="attention.self.query", key="attention.self.key", value="attention.self.value", ao="attention.output.dense", aln="attention.output.LayerNorm",
                   inter="intermediate.dense", out="output.dense", oln="output.LayerNorm")
        out = {}
        for k, v in self.state_dict().items():
            p = k.split(".")
            if p[0] == "layers":
                k = "bert.encoder.layer.%s.%s.%s" % (p[1], ren[p[2]], p[3])
            elif p[0] == "cls":
                k = "classifier." + p[1]
            else:
                k = "bert.embeddings." + dict(word="word_embeddings", pos="position_embeddings", typ="token_type_embeddings", ln="LayerNorm")[p[0]] + "." + p[1]
            out[k] = v
        return out


def from_hf(net, path):
    """Load a saved Hugging Face directory's weights back into one of these networks, to train on."""
    from safetensors.torch import load_file
    names = list(net.state_dict())
    net.load_state_dict({k: torch.full_like(v, i) for i, (k, v) in enumerate(net.state_dict().items())})
    where = {name: names[int(t.flatten()[0])] for name, t in net.hf().items()}
    turned = isinstance(net, GPT2)
    net.load_state_dict({where[n]: (t.t() if turned and t.dim() == 2 and ".h." in n else t).float() for n, t in load_file(path + "/model.safetensors").items()})
