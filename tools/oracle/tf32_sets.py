# Which of the differing sets does TF32 explain? 20 linspace steps of bert-base-uncased with products of
# inputs rounded to 10 bits of mantissa (forward and backward), or plain float32.
import json, sys, time, torch
from transformers import BertForMaskedLM, BertTokenizerFast
torch.set_num_threads(2)
mode=sys.argv[1]
def r(x):
    if mode=='fp32': return x
    i=x.contiguous().view(torch.int32)
    return ((i+0x1000)&~0x1fff).view(torch.float32)
class Lin(torch.autograd.Function):
    @staticmethod
    def forward(c,x,w): c.w=w; return r(x)@w.t()
    @staticmethod
    def backward(c,g): return r(g)@c.w, None
class Mat(torch.autograd.Function):
    @staticmethod
    def forward(c,a,b): a,b=r(a),r(b); c.save_for_backward(a,b); return a@b
    @staticmethod
    def backward(c,g):
        a,b=c.saved_tensors; g=r(g); return g@b.transpose(-1,-2), a.transpose(-1,-2)@g
M=sys.argv[2]
m=BertForMaskedLM.from_pretrained(M).eval(); tok=BertTokenizerFast.from_pretrained(M)
for p in m.parameters(): p.requires_grad_(False)
W={}
def lin(mod,x):
    if mod not in W: W[mod]=r(mod.weight.data)
    return Lin.apply(x,W[mod])+mod.bias
def ln(mod,x): return torch.nn.functional.layer_norm(x,(768,),mod.weight,mod.bias,1e-12)
def att(L,x):
    s=L.attention.self; B,T,_=x.shape
    h=lambda t: t.view(B,T,12,64).transpose(1,2)
    q,k,v=h(lin(s.query,x)),h(lin(s.key,x)),h(lin(s.value,x))
    p=(Mat.apply(q,k.transpose(2,3))/8).softmax(-1)
    o=Mat.apply(p,v).transpose(1,2).reshape(B,T,768)
    return ln(L.attention.output.LayerNorm,lin(L.attention.output.dense,o)+x)
act=lambda L,h: torch.nn.functional.gelu(lin(L.intermediate.dense,h))
out=lambda L,h,a: ln(L.output.LayerNorm,lin(L.output.dense,a)+h)
def head(x):
    t=m.cls.predictions.transform
    return lin(m.cls.predictions.decoder,ln(t.LayerNorm,torch.nn.functional.gelu(lin(t.dense,x))))
layers=m.bert.encoder.layer
def scores(prompt,answer):
    e=tok(prompt,return_tensors='pt')
    pos=(e.input_ids[0]==tok.mask_token_id).nonzero()[0,0].item()
    with torch.no_grad(): x=m.bert.embeddings(e.input_ids)
    res=[]
    for l in range(12):
        with torch.no_grad():
            h=att(layers[l],x); a=act(layers[l],h)
        t=torch.linspace(0,1,20)[:,None]
        z=(a[:,pos]*t).requires_grad_(True)
        A=a.expand(20,-1,-1).clone(); A=torch.cat([A[:,:pos],z[:,None],A[:,pos+1:]],1)
        y=out(layers[l],h.expand(20,-1,-1),A)
        for j in range(l+1,12):
            hh=att(layers[j],y); y=out(layers[j],hh,act(layers[j],hh))
        P=head(y[:,pos]).softmax(-1)[:,answer].sum()
        g,=torch.autograd.grad(P,z)
        res.append((a[0,pos]*g.sum(0)/20).detach())
        with torch.no_grad(): x=out(layers[l],h,a)
    return torch.stack(res)
pub={}
import lzma
for line in lzma.open(sys.argv[4],'rt'):
    d=json.loads(line); pub[d['uuid']]={tuple(n) for n in d['neurons']}
same=0;tot=0
for line in open(sys.argv[3]):
    f=json.loads(line); ans=tok.encode(f['object'].lower(),add_special_tokens=False)
    if len(ans)!=1: print('multi',f['object']); continue
    t0=time.time(); counts={}
    for p in f['prompts']:
        s=scores(p,ans[0]); th=0.3*s.max()
        for l,n in (s>th).nonzero().tolist(): counts[(l,n)]=counts.get((l,n),0)+1
    keep={k for k,c in counts.items() if c>0.3*len(f['prompts'])}
    tot+=1; same+=keep==pub[f['uuid']]
    print(f['relation'],f['subject'],f['object'],len(f['prompts']),'same' if keep==pub[f['uuid']] else ('only ours',sorted(keep-pub[f['uuid']]),'only published',sorted(pub[f['uuid']]-keep)),'%.0f s'%(time.time()-t0),flush=True)
print(mode,same,'of',tot,'identical')
