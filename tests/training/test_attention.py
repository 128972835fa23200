import torch
from torch.nn.functional import scaled_dot_product_attention

from leafkit.training.attention import Float32Attention


def inputs():
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(2, 2, 5, 8, generator=draw).bfloat16().requires_grad_() for _ in range(3)]


def test_attention_gives_the_rounded_float32_result_in_the_dtype_it_was_given():
    wanted = scaled_dot_product_attention(*(x.float() for x in inputs())).bfloat16()
    with torch.autocast("cpu", torch.bfloat16), Float32Attention():
        found = scaled_dot_product_attention(*inputs())
    assert found.dtype is torch.bfloat16
    assert torch.equal(found, wanted)


def test_gradients_flow_in_the_dtype_of_the_inputs():
    tensors = inputs()
    with torch.autocast("cpu", torch.bfloat16), Float32Attention():
        scaled_dot_product_attention(*tensors[:2], value=tensors[2]).sum().backward()
    assert all(tensor.grad.dtype is torch.bfloat16 and tensor.grad.isfinite().all() for tensor in tensors)


def test_a_boolean_mask_stays_boolean():
    mask = torch.tensor([True, True, True, False, False])[None, None, None]
    with Float32Attention():
        masked = scaled_dot_product_attention(*inputs(), attn_mask=mask)
    query, key, value = inputs()
    cut = scaled_dot_product_attention(query.float(), key[:, :, :3].float(), value[:, :, :3].float())
    assert torch.allclose(masked.float(), cut, atol=0.02)


def test_other_functions_are_called_unchanged():
    with Float32Attention():
        assert torch.nn.functional.relu(inputs()[0]).dtype is torch.bfloat16
