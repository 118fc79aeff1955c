// sign_mask
